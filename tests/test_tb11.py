from hypothesis import given, settings
from tests.property_graphs import models
from tests.test_bisection import assert_every_step_is_a_model
@settings(max_examples=4000)
@given(models(20))
def test_x(made):
    assert_every_step_is_a_model(made[0])
