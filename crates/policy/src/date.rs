//! Days as people write them, `2027-01-31`, as seconds since 1970. No clock.

/// Seconds in a day.
pub(crate) const DAY_S: i64 = 86_400;

/// The first second of a day in UTC; `None` for anything but a real day as `YYYY-MM-DD`.
pub(crate) fn start_of(text: &str) -> Option<i64> {
    let is_plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_plain {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // A day that is not in the calendar comes back as another one.
    (stampo_core::date::text(days * DAY_S * 1000) == text).then_some(days * DAY_S)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March here.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A moment as a day.
pub(crate) fn day(at_s: i64) -> String {
    stampo_core::date::text(at_s.div_euclid(DAY_S).saturating_mul(DAY_S * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_days() {
        assert_eq!(start_of("1970-01-01"), Some(0));
        assert_eq!(start_of("2000-02-29"), Some(951_782_400));
        for wrong in [
            "2001-02-29",
            "2026-13-01",
            "2026-1-01",
            "26-01-01",
            "",
            "2026-01-01x",
            "2026-00-10",
        ] {
            assert_eq!(start_of(wrong), None, "{wrong}");
        }
        for number in 0..60_000 {
            let at = number * DAY_S;
            assert_eq!(start_of(&day(at + 5)), Some(at));
        }
    }
}
