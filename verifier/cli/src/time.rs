//! Times on the command line and in text: RFC 3339 or Unix seconds.

use hanzo_attestation::UnixTime;

use crate::error::CliError;

const DAY_S: u64 = 86_400;

/// Reads `2026-11-22T10:00:00Z` (or with an offset such as `+01:00`), or Unix seconds.
pub(crate) fn parse(text: &str) -> Result<UnixTime, CliError> {
    let wrong = || CliError::Usage {
        option: "--at",
        expected: "RFC 3339, e.g. 2026-11-22T10:00:00Z, or Unix seconds",
        got: text.to_owned(),
    };
    if let Ok(seconds) = text.parse::<u64>() {
        return if seconds < 1 << 40 {
            Ok(UnixTime(seconds))
        } else {
            Err(wrong())
        };
    }
    rfc3339(text).map(UnixTime).ok_or_else(wrong)
}

fn rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let mark = |at: usize, allowed: &str| text.get(at..at + 1).filter(|m| allowed.contains(*m)).map(|_| ());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    mark(4, "-")?;
    mark(7, "-")?;
    mark(10, "Tt ")?;
    mark(13, ":")?;
    mark(16, ":")?;
    let days = days_since_epoch(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = days * DAY_S + hour * 3600 + minute * 60 + second;
    match text.get(19..)? {
        "Z" | "z" => Some(local),
        offset if offset.len() == 6 && offset.is_ascii() => {
            let (h, m) = (number(20, 22)?, number(23, 25)?);
            mark(22, ":")?;
            if h > 23 || m > 59 {
                return None;
            }
            let shift = h * 3600 + m * 60;
            match offset.get(..1)? {
                "+" => local.checked_sub(shift),
                "-" => Some(local + shift),
                _ => None,
            }
        }
        _ => None,
    }
}

fn month_days(year: u64, month: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || day == 0 || day > month_days(year, month)? {
        return None;
    }
    let before = year - 1;
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let years = (year - 1970) * 365 + leaps(before) - leaps(1969);
    let months: u64 = (1..month).filter_map(|m| month_days(year, m)).sum();
    Some(years + months + day - 1)
}

/// `2026-11-22T10:00:00Z`.
pub fn show(seconds: u64) -> String {
    let (mut days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let mut year = 1970;
    loop {
        let length: u64 = (1..=12).filter_map(|m| month_days(year, m)).sum();
        if days < length || year > 9999 {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    while let Some(length) = month_days(year, month).filter(|l| days >= *l) {
        days -= length;
        month += 1;
    }
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        days + 1,
        rest / 3600,
        rest % 3600 / 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_both_ways_and_impossible_ones_are_refused() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-22T10:00:00Z", 1_795_341_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse(text).unwrap(), UnixTime(seconds), "{text}");
            assert_eq!(show(seconds), text);
        }
        assert_eq!(parse("2026-11-22T11:00:00+01:00").unwrap(), UnixTime(1_795_341_600));
        assert_eq!(parse("1795341600").unwrap(), UnixTime(1_795_341_600));
        for bad in [
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:00+1:00",
            "yesterday",
            "",
            "-1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
