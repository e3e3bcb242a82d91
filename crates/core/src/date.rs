//! A moment as people read it. Pure: the caller says which moment.

/// Milliseconds since 1970 as RFC 3339 in UTC, to the second; at midnight only the day.
pub fn text(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
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
    use super::text;

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
