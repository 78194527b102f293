import numpy as np
import pytest

from dst_jax import penalties
from experiments import draw_penalties


@pytest.mark.slow
def test_every_penalty_has_a_panel_with_its_value():
    figure = draw_penalties.draw()
    panels = {axes.get_title(loc="left").split(" of ")[0]: axes for axes in figure.axes}
    assert set(panels) == set(penalties.names())
    s, value = panels["transformed_l1"].lines[0].get_data()
    np.testing.assert_allclose(value, 1.1 * s / (0.1 + s), rtol=1e-5)
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None:  # above the curves, next to the title
            box = legend.get_window_extent()
            assert box.y0 > axes.get_window_extent().y1 - 1, axes.get_title("left")
            assert box.x0 > axes._left_title.get_window_extent().x1 - 1


@pytest.mark.slow
def test_writes_where_it_is_told(tmp_path):
    assert draw_penalties.main(tmp_path / "new" / "figure.png") == 0
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")
