//! Medians and how they are written.
//!
//! Medians and not means: one disturbed round must not move the result. Quartiles show the spread.

use serde::Serialize;

/// A series in short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value; of an even count, the mean of the two in the middle.
    pub median: f64,
    /// A quarter of the values is not above this (nearest rank).
    pub low: f64,
    /// A quarter of the values is not below this (nearest rank).
    pub high: f64,
}

/// Sums up a series; `None` of an empty one.
pub fn summary(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let upper = *sorted.get(count / 2)?;
    let median = if count.is_multiple_of(2) {
        (sorted[count / 2 - 1] + upper) / 2.0
    } else {
        upper
    };
    let rank = count.div_ceil(4) - 1;
    Some(Summary {
        median,
        low: sorted[rank],
        high: sorted[count - 1 - rank],
    })
}

/// Milliseconds for people: three digits, in the unit that suits them.
pub fn duration(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 10.0 => format!("{ms:.1} ms"),
        ms if ms >= 1.0 => format!("{ms:.2} ms"),
        ms => format!("{:.0} µs", ms * 1000.0),
    }
}

/// A ratio for people.
pub fn ratio(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}×"),
        value if value >= 10.0 => format!("{value:.1}×"),
        value => format!("{value:.2}×"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles_of_odd_even_and_tiny_series() {
        let of = |values: &[f64]| {
            let found = summary(values).expect("not empty");
            (found.low, found.median, found.high)
        };
        assert_eq!(of(&[9.0, 1.0, 5.0]), (1.0, 5.0, 9.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), (1.0, 2.5, 4.0));
        assert_eq!(of(&[7.0]), (7.0, 7.0, 7.0));
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(of(&nine), (3.0, 5.0, 7.0));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_median() {
        let calm = summary(&[10.0, 11.0, 12.0, 11.0, 10.0]).expect("values");
        let disturbed = summary(&[10.0, 11.0, 9000.0, 11.0, 10.0]).expect("values");
        assert_eq!(calm.median, disturbed.median);
    }

    #[test]
    fn times_and_ratios_have_three_digits() {
        assert_eq!(duration(0.3512), "351 µs");
        assert_eq!(duration(7.891), "7.89 ms");
        assert_eq!(duration(78.91), "78.9 ms");
        assert_eq!(duration(789.1), "789 ms");
        assert_eq!(duration(7891.0), "7.89 s");
        assert_eq!(duration(78_910.0), "78.9 s");
        assert_eq!(ratio(3.2159), "3.22×");
        assert_eq!(ratio(32.159), "32.2×");
        assert_eq!(ratio(321.59), "322×");
    }
}
