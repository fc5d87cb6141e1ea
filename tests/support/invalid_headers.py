"""Hypothesis strategies for rate-limit headers with nonsensical values."""

from hypothesis import strategies as st

NUMBERS = st.integers().map(str) | st.floats().map(str) | st.sampled_from(["0", "-1", "", "1e400", "nan", "50, 60"])
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Tue", "", "Foo"]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Dec", "Bar"]),
    st.integers(-1, 10**5),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["GMT", "+2500", "-0000", "+99999999999999999999", "", "EST"]),
)
STAMPS = st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda when: when.isoformat())
VALUES = st.text(max_size=40) | NUMBERS | DATES | STAMPS

_FAMILIES = ("requests", "input-tokens", "output-tokens", "tokens")
_NAMES = [f"anthropic-ratelimit-{family}-{field}" for family in _FAMILIES for field in ("limit", "remaining", "reset")]
HEADERS = st.dictionaries(st.sampled_from([*_NAMES, "date"]), VALUES)
