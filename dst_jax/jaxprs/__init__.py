"""Jaxprs for every analysis: evaluated with a visitor, or followed without values.

`walker` evaluates a jaxpr and shows every product to a visitor; `dataflow` follows what
is known about its values. Both go through calls, loops and branches in one way.
"""
