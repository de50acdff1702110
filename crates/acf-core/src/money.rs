//! How sums of money are written, wherever people read them.

use crate::receipt::Usage;

/// Below this, cents say nothing.
const CENT: f64 = 0.01;
/// The least that four decimals can say.
const LEAST: f64 = 0.0001;

/// Writes a sum of US dollars: `$0.31`, below a cent with four decimals, and `$0` for nothing alone.
#[must_use]
pub fn money(usd: f64) -> String {
    if usd == 0.0 {
        "$0".to_owned()
    } else if usd >= CENT {
        format!("${usd:.2}")
    } else if usd >= LEAST {
        format!("${usd:.4}")
    } else {
        format!("under ${LEAST}")
    }
}

/// Says what something cost, as far as anybody knows: `$0.31`, `$0.31 (estimated)`, `at least $0.31` where that
/// is not all, `cost not known`; `None` where nothing was used that costs anything.
#[must_use]
pub fn cost(usage: &Usage) -> Option<String> {
    let estimated = if usage.cost_is_estimated { " (estimated)" } else { "" };
    match usage.cost_usd {
        Some(dollars) if !usage.cost_is_unknown() => Some(format!("{}{estimated}", money(dollars))),
        Some(dollars) if dollars > 0.0 => Some(format!("at least {}{estimated}", money(dollars))),
        Some(_) => Some(NOT_KNOWN.to_owned()),
        None => usage.cost_is_unknown().then(|| NOT_KNOWN.to_owned()),
    }
}

const NOT_KNOWN: &str = "cost not known";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_says_how_far_it_is_known() {
        let told = |cost_usd, cost_is_estimated, cost_is_incomplete| {
            cost(&Usage { cost_usd, cost_is_estimated, cost_is_incomplete, ..Usage::default() })
        };
        assert_eq!(told(Some(0.314), false, false).as_deref(), Some("$0.31"));
        assert_eq!(told(Some(0.314), true, false).as_deref(), Some("$0.31 (estimated)"));
        assert_eq!(told(Some(0.314), true, true).as_deref(), Some("at least $0.31 (estimated)"));
        assert_eq!(told(Some(0.0), false, false).as_deref(), Some("$0"));
        assert_eq!(told(Some(0.0), false, true).as_deref(), Some("cost not known"));
        assert_eq!(told(None, false, true).as_deref(), Some("cost not known"));
        assert_eq!(told(None, false, false), None);
    }

    #[test]
    fn only_nothing_is_written_as_nothing() {
        let written = [1234.5, 4.0, 0.314, 0.01, 0.009_99, 0.0003, 0.000_01, 0.0].map(money);
        let expected = ["$1234.50", "$4.00", "$0.31", "$0.01", "$0.0100", "$0.0003", "under $0.0001", "$0"];
        assert_eq!(written, expected);
    }
}
