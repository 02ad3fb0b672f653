//! Times of Intel's documents: `YYYY-MM-DDThh:mm:ssZ` (RFC 3339, UTC, whole seconds).

/// Seconds since 1970; `None` for any other form, and for times before 1970.
pub(super) fn rfc3339(text: &str) -> Option<u64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    for (at, letter) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')] {
        (bytes.get(at) == Some(&letter)).then_some(())?;
    }
    let number = |from: usize, n: usize| -> Option<u64> {
        let digits = bytes.get(from..from.checked_add(n)?)?;
        digits.iter().try_fold(0_u64, |sum, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit.wrapping_sub(b'0')))?;
            sum.checked_mul(10)?.checked_add(digit)
        })
    };
    let date = der::DateTime::new(
        u16::try_from(number(0, 4)?).ok()?,
        u8::try_from(number(5, 2)?).ok()?,
        u8::try_from(number(8, 2)?).ok()?,
        u8::try_from(number(11, 2)?).ok()?,
        u8::try_from(number(14, 2)?).ok()?,
        u8::try_from(number(17, 2)?).ok()?,
    );
    Some(date.ok()?.unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn only_utc_times_of_the_calendar_are_times() {
        assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339("2025-06-19T10:16:03Z"), Some(1_750_328_163));
        assert_eq!(rfc3339("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        for wrong in [
            "",
            "2025-06-19T10:16:03",
            "2025-06-19 10:16:03Z",
            "2025-06-19T10:16:03+00:00",
            "2025-06-19T10:16:03.5Z",
            "2025-13-19T10:16:03Z",
            "2025-02-30T10:16:03Z",
            "2025-06-19T24:16:03Z",
            "2025-06-19T10:16:+3Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
    }
}
