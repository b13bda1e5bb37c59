import numpy as np
import pytest
import torch

import bptt
from bptt.data import Frequency, Table
from bptt.tasks.forecast.baselines import Plain, Profile, fit_smoothing, forecasts, seasons_of, smoothed
from bptt.tasks.forecast.calendar import calendar, cycles, phase, steps_of, with_calendar
from bptt.tasks.forecast.model import ForecastModel, Pinball
from bptt.tasks.forecast.score import measured, score, score_many
from bptt.tasks.forecast.spread import spread

DAY = 86_400_000_000


def days(n, start="2001-01-01", step=1):
    return np.datetime64(start, "us") + np.arange(n) * np.timedelta64(step, "D")


def table_of(values, times=None, frequency=None, observed=None):
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    return Table(
        values=values,
        observed=np.isfinite(values) if observed is None else observed,
        times=days(len(values)) if times is None else times,
        targets=tuple("abc"[: values.shape[1]]),
        time="t",
        frequency=frequency or Frequency(DAY, "us"),
    )


# the model


def test_quantiles_never_cross_and_the_median_is_the_present_plus_a_change():
    model = ForecastModel(3, 2, 4, (0.1, 0.3, 0.5, 0.9), hidden=5, dropout=0.0)
    x = torch.randn(6, 7, 3)
    y, _ = model(x)
    assert y.shape == (6, 7, 4, 2, 4)
    assert (y.diff(dim=-1) > 0).all()
    torch.nn.init.zeros_(model.head.weight)
    y, _ = model(x)
    torch.testing.assert_close(y[..., 2], x[:, :, None, :2].expand(6, 7, 4, 2))


KINDS = [{}, {"lags": 3}, {"apart": True}, {"lags": 4, "apart": True, "point": "mean"}]


def model_of(series=2, columns=1, horizon=3, **how):
    """A model with a linear map of lags that is not zero, as it is at the beginning."""
    model = ForecastModel(series + columns, series, horizon, hidden=5, dropout=0.0, **how).double()
    if model.lagged is not None:
        torch.nn.init.normal_(model.lagged.weight)
    return model


@pytest.mark.parametrize("norm", ["none", "window"])
@pytest.mark.parametrize("change", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_no_step_sees_what_comes_after_it(norm, change, kind):
    model = model_of(norm=norm, change=change, **kind)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    y, _ = model(x)
    later = x.clone()
    later[5:] += 100
    z, _ = model(later)
    assert torch.equal(y[:5], z[:5])
    assert not torch.equal(y[5:], z[5:])


@pytest.mark.parametrize("norm", ["none", "window"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_pass_is_any_two_passes(norm, cell, kind):
    model = model_of(norm=norm, cell=cell, **kind)
    x = 50 + torch.randn(9, 2, 3, dtype=torch.float64)
    whole, _ = model(x)
    first, state = model(x[:4])
    second, _ = model(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(model(x[4:], state, last=True)[0], whole[-1:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS[2:], ids=str)
def test_a_series_read_alone_knows_nothing_of_the_others(kind):
    model = model_of(norm="window", **kind)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    other = x.clone()
    other[..., 1] += torch.randn(9, 2, dtype=torch.float64)
    y, z = model(x)[0], model(other)[0]
    assert torch.equal(y[..., 0, :], z[..., 0, :])
    assert not torch.equal(y[..., 1, :], z[..., 1, :])
    swapped = model(x[..., [1, 0, 2]])[0]
    torch.testing.assert_close(swapped, y[..., [1, 0], :], rtol=0, atol=1e-12)


def test_the_linear_map_of_lags_by_hand():
    model = model_of(1, 0, 2, lags=2, change=False)
    torch.nn.init.zeros_(model.head.weight)
    model.lagged.weight.data = torch.tensor([[0.0, 1.0], [2.0, 0.5]], dtype=torch.float64)
    x = torch.tensor([3.0, 5.0, 7.0], dtype=torch.float64).reshape(3, 1, 1)
    y = model(x)[0][:, 0, :, 0, 2]
    torch.testing.assert_close(y, torch.tensor([[3.0, 1.5], [5.0, 8.5], [7.0, 13.5]], dtype=torch.float64))


def test_the_mean_is_learned_by_squared_error():
    y, target = torch.randn(5, 2, 4), torch.randn(5, 2)
    target[0, 0] = float("nan")
    levels = (0.1, 0.5, 0.9)
    wanted = Pinball(levels)(y[..., :3], target) + (y[..., 3] - target).nan_to_num(0).square().sum()
    torch.testing.assert_close(Pinball(levels, mean=True)(y, target), wanted)
    with pytest.raises(ValueError, match="3 quantiles and the mean need"):
        Pinball(levels, mean=True)(y[..., :3], target)


def test_with_window_norm_a_shift_of_the_series_shifts_the_forecast():
    model = ForecastModel(1, 1, 2, hidden=5, dropout=0.0, norm="window").double()
    x = torch.randn(12, 3, 1, dtype=torch.float64)
    torch.testing.assert_close(model(x + 1000)[0], model(x)[0] + 1000, rtol=0, atol=1e-8)


def test_a_reset_in_a_sequence_starts_the_norm_afresh():
    model = ForecastModel(1, 1, 1, (0.5,), hidden=5, dropout=0.0, norm="window").double()
    x, target = torch.randn(8, 3, 1).double(), torch.randn(8, 3, 1, 1).double()
    reset = torch.zeros(8, 3, dtype=torch.bool)
    reset[5] = True
    loss = Pinball((0.5,))
    joined = bptt.evaluate(model, loss, (x, target, None, reset)).loss
    parts = [bptt.evaluate(model, loss, (x[a:b], target[a:b])).loss for a, b in ((0, 5), (5, 8))]
    torch.testing.assert_close(joined, sum(parts))


def test_the_pinball_loss_by_hand_and_without_what_is_missing():
    y = torch.tensor([[1.0, 3.0], [5.0, 5.0]])
    target = torch.tensor([2.0, float("nan")])
    loss = Pinball((0.5, 0.9))
    # (0.5 * 1 + 0.1 * 1) * 2 / 2
    assert float(loss(y, target)) == pytest.approx(0.6)
    assert loss.count(target) == 1
    y.requires_grad_()
    loss(y, target).backward()
    assert torch.isfinite(y.grad).all()
    assert y.grad[1].eq(0).all()


def test_the_median_alone_is_the_absolute_error():
    y, target = torch.randn(5, 2, 1), torch.randn(5, 2)
    assert float(Pinball((0.5,))(y, target)) == pytest.approx(float((y[..., 0] - target).abs().sum()))


@pytest.mark.parametrize("quantiles", [(0.1, 0.9), (0.5, 0.1), (0.0, 0.5), (0.5, 0.5)])
def test_quantiles_that_cannot_be_are_refused(quantiles):
    with pytest.raises(ValueError, match=r"hold 0\.5"):
        Pinball(quantiles)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\[5, 2\].*\[5, 3, 1\]"):
        Pinball((0.5,))(torch.zeros(5, 2), torch.zeros(5, 3))


# the calendar


def test_phases_of_known_times():
    times = np.array(["2001-01-01T06:00", "2001-07-02T12:00", "2001-12-31T23:59"], dtype="datetime64[us]")
    assert phase(times, "day") == pytest.approx([0.25, 0.5, 1439 / 1440])
    assert phase(times, "year") == pytest.approx([0.25 / 365, 0.5, 1 - 1 / 60 / 24 / 365], abs=1e-9)
    week = phase(times, "week")
    assert week[0] == pytest.approx(phase(times[:1] + np.timedelta64(7, "D"), "week")[0])


def test_cycles_are_taken_only_where_the_training_part_can_teach_them():
    hourly = table_of(
        np.zeros(24 * 20),
        np.datetime64("2001-01-01", "us") + np.arange(480) * np.timedelta64(1, "h"),
        Frequency(DAY // 24, "us"),
    )
    assert cycles(hourly, 480) == ("day", "week")
    assert cycles(hourly, 100) == ("day",)
    daily = table_of(np.zeros(800))
    assert cycles(daily, 800) == ("week", "year")
    assert steps_of(daily, "year") == 365
    monthly = table_of(np.zeros(60), frequency=Frequency(1, "month"))
    assert cycles(monthly, 60) == ("year",)
    assert steps_of(monthly, "year") == 12
    numbered = table_of(np.zeros(60), np.arange(60), Frequency(1, "step"))
    assert cycles(numbered, 60) == ()


def test_the_calendar_goes_on_beyond_the_data():
    made = with_calendar(table_of(np.arange(10.0)), 3, ("week",))
    assert (len(made), made.future) == (13, 3)
    assert made.known == ("sin of week", "cos of week")
    columns, features = calendar(days(13), ("week",))
    np.testing.assert_array_equal(made.values[:, 1:], features)
    assert len(columns) == 2
    assert np.isnan(made.values[10:, 0]).all()


# the baselines


def test_each_baseline_by_hand():
    values = np.arange(40.0)
    table = table_of(values)
    origins = np.array([20, 21])
    made = forecasts(table, origins, 9, Plain({"week": 7}))
    np.testing.assert_array_equal(made["persistence"][:, :, 0], [[20.0] * 9, [21.0] * 9])
    np.testing.assert_array_equal(made["a week ago"][0, :, 0], [14, 15, 16, 17, 18, 19, 20, 14, 15])


def test_the_mean_of_the_season_is_of_the_training_rows_alone():
    values = np.tile(np.arange(7.0), 10)
    values[50:] = 1e6
    profile = Profile.fit(table_of(values), 49, "week")
    np.testing.assert_allclose(profile.at(days(70))[:, 0], np.tile(np.arange(7.0), 10))
    again = Profile.from_json(profile.to_json())
    np.testing.assert_array_equal(again.means, profile.means)


def test_the_mean_of_a_day_of_the_year_takes_in_its_neighbours():
    values = np.zeros(730)
    values[100] = 31.0
    profile = Profile.fit(table_of(values), 730, "year")
    at = profile.at(days(365))[:, 0]
    assert at[85:116] == pytest.approx(0.5)
    assert at[84] == at[116] == 0


def test_seasons_need_two_of_them():
    assert seasons_of(table_of(np.zeros(800)), 800) == {"week": 7, "year": 365}
    assert seasons_of(table_of(np.zeros(800)), 700) == {"week": 7}


def test_a_missing_value_is_never_a_forecast():
    values = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    made = forecasts(table_of(values), np.array([2]), 2, Plain({}))
    assert made["persistence"][0, :, 0].tolist() == [2.0, 2.0]


# the figures


def test_figures_by_hand():
    truth = np.array([1.0, 2.0, np.nan, 4.0]).reshape(4, 1, 1)
    model = np.array([[0.0, 1.0, 2.0], [2.5, 3.0, 4.0], [0.0, 0.0, 0.0], [3.0, 4.0, 9.0]]).reshape(4, 1, 1, 3)
    plain = {"persistence": np.zeros((4, 1, 1))}
    found = measured(truth, model, model[..., 1], plain, np.array([0.5]), np.ones(1), {})
    report = score("here", ["a"], found, (0.1, 0.5, 0.9))
    found = report.figures["targets"]["a"]
    assert found["count"] == 3
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["scores"]["this model"] == pytest.approx({"mae": 1 / 3, "rmse": (1 / 3) ** 0.5, "mase": 2 / 3})
    assert found["scores"]["persistence"]["mae"] == pytest.approx(7 / 3)
    assert "below" in report.remarks[0]
    low, middle, high = (np.maximum(q * e, (q - 1) * e) for q, e in zip((0.1, 0.5, 0.9), ERRORS, strict=True))
    assert found["spreads"]["this model"]["pinball"] == pytest.approx(2 * np.concatenate([low, middle, high]).mean())
    assert report.headline == {"MAE": found["scores"]["this model"]["mae"], "RMSE": pytest.approx((1 / 3) ** 0.5),
                               "MASE": pytest.approx(2 / 3)}  # fmt: skip


ERRORS = [np.array([1.0, -0.5, 1.0]), np.array([0.0, -1.0, 0.0]), np.array([-1.0, -2.0, -5.0])]


def noisy(better):
    """400 forecasts beside a plain one, with errors of the same kind times ``better``."""
    rng = np.random.default_rng(0)
    truth, zero = rng.normal(size=(400, 1, 2)), np.zeros((400, 1, 2))
    point = truth - better * rng.permutation(truth)
    return measured(truth, point[..., None], point, {"random walk": zero}, np.ones(2), np.array([1.0, 2.0]), {})


def test_what_chance_alone_may_do_is_no_gain():
    said = score("here", ["a", "b"], noisy(1.0), (0.5,)).remarks
    assert all("nothing here is shown to beat random walk" in line for line in said)
    said = score("here", ["a", "b"], noisy(0.5), (0.5,), "rmse").remarks
    assert all("RMSE is" in line and "below" in line and "95 % interval of the difference" in line for line in said)
    assert "ABOVE" in score("here", ["a", "b"], noisy(1.5), (0.5,)).remarks[0]


def test_all_targets_together_are_in_units_of_their_deviations():
    found = noisy(0.5)
    report = score("here", ["a", "b"], found, (0.5,))
    errors = (found.truth - found.made["this model"]) / np.array([1.0, 2.0])
    assert report.figures["all"]["scores"]["this model"] == pytest.approx(
        {"mse": np.square(errors).mean(), "mae": np.abs(errors).mean()}
    )
    assert set(report.headline) == {"MSE scaled", "MAE scaled"}


def test_of_many_series_the_mean_of_each_counts():
    one, other = np.full((1, 2, 1), 10.0), np.full((1, 1, 1), 2.0)
    series = {
        "x": measured(one, one[..., None] * 1.1, one * 1.1, {"persistence": one * 0}, np.ones(1), np.ones(1), {}),
        "y": measured(other, other[..., None] * 0, other * 0, {"persistence": other}, np.full(1, 0.5), np.ones(1), {}),
        "still": measured(other, other[..., None], other, {"persistence": other}, np.zeros(1), np.ones(1), {}),
    }
    report = score_many("here", ["v"], series, (0.5,))
    found = report.figures["targets"]["v"]
    assert found["series"] == 2
    assert found["scores"]["this model"]["smape"] == pytest.approx((200 * 1 / 21 + 200) / 2)
    assert found["scores"]["this model"]["mase"] == pytest.approx((1 + 4) / 2)
    assert found["scores"]["persistence"]["smape"] == pytest.approx(100)
    assert "1 series never changed" in report.remarks[1]


def test_smoothing_by_hand_and_its_share_from_the_training_part():
    values = np.array([[1.0], [3.0], [2.0], [6.0]])
    np.testing.assert_allclose(smoothed(values, 1, np.array([0.5]))[:, 0], [1, 2, 2, 4])
    np.testing.assert_allclose(smoothed(values, 2, np.array([0.5]))[:, 0], [1, 3, 1.5, 4.5])
    rng = np.random.default_rng(0)
    walk, noise = rng.normal(size=500).cumsum(), rng.normal(size=500)
    found = fit_smoothing(np.stack([walk, noise], 1), [1, 7])
    assert found["1"][0] > 0.7
    assert found["1"][1] <= 0.05
    table = table_of(walk)
    made = forecasts(table, np.array([30]), 8, Plain({"week": 7}, (), {"1": (0.5,), "7": (0.2,)}))
    level = smoothed(walk[:, None], 7, np.array([0.2]))[:, 0]
    np.testing.assert_allclose(made["exponential smoothing, every week"][0, :, 0], [*level[24:31], level[24]])
    np.testing.assert_allclose(made["exponential smoothing"][0, :, 0], smoothed(walk[:, None], 1, np.array([0.5]))[30, 0])


@pytest.mark.parametrize("zero", [True, False])
def test_intervals_of_plain_forecasts_are_of_the_training_part_and_see_nothing_that_comes(zero):
    rng = np.random.default_rng(0)
    values = rng.normal(size=900) * np.repeat([1.0, 3.0, 1.0], 300)
    values = values if zero else values.cumsum()
    origins = np.arange(600, 898)
    plain = Plain({"week": 7}, zero=zero)
    levels = (0.05, 0.5, 0.95)
    made, spreads = spread(table_of(values), 600, origins, 2, plain, levels)
    base = "random walk" if zero else "persistence"
    late = spreads[f"{base}, as wide as of late"]
    assert set(spreads) == set(made)
    np.testing.assert_allclose(
        np.diff(spreads[base][..., 0, :], axis=-1), np.diff(spreads[base][:1, :, 0], axis=-1).repeat(298, 0)
    )
    truth = values[origins[:, None] + np.arange(1, 3)]
    inside = {label: ((truth > each[:, :, 0, 0]) & (truth < each[:, :, 0, -1])).mean() for label, each in spreads.items()}
    assert abs(inside[f"{base}, as wide as of late"] - 0.9) < abs(inside[base] - 0.9)
    changed = values.copy()
    changed[750:] = 1e3
    again = spread(table_of(changed), 600, origins, 2, plain, levels)[1]
    for label, each in spreads.items():
        np.testing.assert_array_equal(each[origins < 750], again[label][origins < 750])
    assert not np.array_equal(late, again[f"{base}, as wide as of late"])
    assert spread(table_of(values), 20, origins, 2, plain, levels)[1] == {}
