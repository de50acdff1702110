//! How sums of money are written, wherever people read them.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_is_written_as_nothing() {
        let written = [1234.5, 4.0, 0.314, 0.01, 0.009_99, 0.0003, 0.000_01, 0.0].map(money);
        let expected = ["$1234.50", "$4.00", "$0.31", "$0.01", "$0.0100", "$0.0003", "under $0.0001", "$0"];
        assert_eq!(written, expected);
    }
}
