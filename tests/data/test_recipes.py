import pytest

from dst_jax import data
from dst_jax.data.recipes import recipe_of


@pytest.mark.parametrize("name", data.names())
def test_every_recipe_is_consistent(name):
    recipe = recipe_of(name)
    assert len(recipe.mean) == len(recipe.std) == recipe.channels
    assert all(0 < value < 1 for value in (*recipe.mean, *recipe.std))
    assert 0 <= recipe.holdout < 1
    assert recipe.train_split != recipe.test_split


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'mnits' is not one of: digits, mnist, "):
        data.load("mnits")
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        data.load("mnits")
