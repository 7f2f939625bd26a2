//! Times as people write them: RFC 3339, such as `2026-11-21T23:00:05.250Z` or `2026-11-22 00:00:05+01:00`.

const MS_PER_DAY: i64 = 86_400_000;

/// Ms of Unix time; none if this is no time, or one before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, fraction_and_zone) = time.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let days = days(year, month, day)?;
    // A leap second is the one after it.
    let in_range = hour < 24 && minute < 60 && second <= 60;
    let (fraction_ms, zone) = fraction(fraction_and_zone)?;
    let ms = days * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms - offset_ms(zone)?;
    u64::try_from(ms).ok().filter(|_| in_range)
}

/// Three numbers of so many digits each.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// Days since 1970 began.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if !(1..=*lengths.get(month)?).contains(&day) {
        return None;
    }
    let before = year - 1;
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    Some(years + lengths[..month].iter().sum::<i64>() + day - 1)
}

/// Milliseconds, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.find(|it: char| !it.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(digits);
    let ms: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some((ms.parse().ok().filter(|_| digits > 0)?, zone))
}

/// What the clock there is ahead.
fn offset_ms(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{}:00", &zone[1..]), ':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// A time as UTC.
pub(crate) fn format(unix_ms: u64) -> String {
    let (mut days, ms) = ((unix_ms / MS_PER_DAY as u64) as i64, unix_ms % MS_PER_DAY as u64);
    // Counted from the first of March of a year that 400 divides, the day that may be missing is the last.
    days += 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-02T00:00:00.5Z", 86_400_500),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2000-03-01t00:00:00z", 951_868_800_000),
            ("2026-11-21 23:00:05+01:00", 1_795_298_405_000),
            ("2026-11-21T22:00:05.000999-00:00", 1_795_298_405_000),
            ("2100-03-01T00:00:00-00:30", 4_107_544_200_000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-11-21",
            "2026-11-21T23:00:05",
            "2026-11-21T23:00Z",
            "2026-13-21T23:00:05Z",
            "2026-00-21T23:00:05Z",
            "2026-02-29T23:00:05Z",
            "2026-11-21T24:00:05Z",
            "2026-11-21T23:00:05.Z",
            "2026-11-21T23:00:05+1:00",
            "2026-11-21T23:00:05+01",
            "2026-11-21T23:00:05é",
            "1960-11-21T23:00:05Z",
            "-026-11-21T23:00:05Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix_ms in 0_u64..253_402_300_800_000) {
            prop_assert_eq!(parse(&format(unix_ms)), Some(unix_ms));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
