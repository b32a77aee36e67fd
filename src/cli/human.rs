//! Sizes, times and shares as people read them.

use std::time::Duration;

/// `0 B`, `512 B`, `1.5 kB`, `50.0 GB`: powers of 1000, as the configuration has them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1_u64;
    // 999.95 of a unit would be shown as 1000.0.
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 - u64::from(unit > 0) {
        scale *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `0 ms`, `1.3 ms`, `350 ms`, `12.3 s`, `4m 05s`, `2h 07m`.
pub(super) fn time(time: Duration) -> String {
    let micros = time.as_micros();
    let seconds = (time + Duration::from_millis(500)).as_secs();
    match micros {
        0 => "0 ms".to_owned(),
        1..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..60_000_000 => {
            format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000)
        }
        _ if seconds < 3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `just now`, `5m`, `3h`, `12d`: how long ago.
pub(super) fn age(time: Duration) -> String {
    match time.as_secs() {
        0..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `87.5%`; a dash where there is nothing to have a share of.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 unit`, `2 units`.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_or_four_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_550, "1.6 kB"),
            (999_949, "1.0 MB"),
            (50_000_000_000, "50.0 GB"),
            (u64::MAX, "18446.7 PB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let cases = [
            (0, "0 ms"),
            (1_340, "1.3 ms"),
            (350_999, "350 ms"),
            (12_345_678, "12.3 s"),
            (245_000_000, "4m 05s"),
            (7_620_000_000, "2h 07m"),
        ];
        for (micros, text) in cases {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn counts_and_shares_are_grouped_and_rounded() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(share(7, 8), "87.5%");
        assert_eq!(share(2, 3), "66.7%");
        assert_eq!(share(0, 0), "–");
        assert_eq!(plural(1, "unit", "units"), "1 unit");
        assert_eq!(plural(0, "unit", "units"), "0 units");
        assert_eq!(age(Duration::from_secs(200_000)), "2d");
    }
}
