//! Moments and days as people read and write them. Pure: the caller says which moment.

/// Seconds in a day.
pub const DAY_S: i64 = 86_400;

/// Milliseconds since 1970 as RFC 3339 in UTC, to the second; at midnight only the day.
pub fn text(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    let date = format!("{year:04}-{month:02}-{day:02}");
    match second {
        0 => date,
        _ => {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
        }
    }
}

/// The day of a moment in seconds since 1970, as `2027-01-31`.
pub fn day(at_s: i64) -> String {
    text(at_s.div_euclid(DAY_S).saturating_mul(DAY_S * 1000))
}

/// The first second of a day in UTC, since 1970; `None` for anything but a day of the calendar as
/// `2027-01-31`.
pub fn start_of(text: &str) -> Option<i64> {
    let is_plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_plain {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let at_s = days(number(0, 4)?, number(5, 7)?, number(8, 10)?) * DAY_S;
    // A day that is not in the calendar comes back as another one.
    (day(at_s) == text).then_some(at_s)
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar, of whatever is given for one.
/// Years begin in March here.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar. Years begin
/// in March here, so that the day that is not in every year is their last one.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_ERA: i64 = 146_097;
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (DAYS_OF_ERA - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::{DAY_S, day, start_of, text};

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

    #[test]
    fn moments_are_read_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01"),
            (4_107_456_000, "2100-02-28"),
        ] {
            assert_eq!(text(seconds * 1000), expected);
        }
    }

    /// Each day is the one after the day before.
    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let mut last = super::civil(-1);
        for days in 0..200_000 {
            let (year, month, day) = super::civil(days);
            let follows = match last {
                (y, m, d) if d < 28 => (year, month, day) == (y, m, d + 1),
                (y, 12, 31) => (year, month, day) == (y + 1, 1, 1),
                (y, m, d) => {
                    (year, month, day) == (y, m, d + 1) || (year, month, day) == (y, m + 1, 1)
                }
            };
            assert!(follows, "{last:?} {:?}", (year, month, day));
            last = (year, month, day);
        }
    }
}
