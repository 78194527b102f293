"""The networks of the zoo and the layers that they are made of."""
