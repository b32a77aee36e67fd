//! Sizes, durations and the named choices of the configuration.

use std::time::Duration;

/// Reads `50GB` (powers of 1000), `50GiB` (powers of 1024) or plain bytes; one fraction is allowed
/// before a unit.
pub fn parse_size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
    ];
    let text = text.trim().to_ascii_lowercase();
    let (number, scale) = UNITS
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number.trim_end(), *scale)))
        .unwrap_or((&text, 1));
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if scale > 1 => (whole, fraction),
        Some(_) => return None,
        None => (number, "0"),
    };
    let (whole, digits) = (parse_digits(whole)?, parse_digits(fraction)?);
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 9)?;
    let part = u128::from(digits) * u128::from(scale) / 10_u128.pow(places);
    whole.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

/// Reads `45s`, `30m`, `24h`, `7d`, `2w`; a bare number is hours.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, scale_seconds) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 60),
        'h' => (&text[..text.len() - 1], 3_600),
        'd' => (&text[..text.len() - 1], 86_400),
        'w' => (&text[..text.len() - 1], 604_800),
        _ => (text, 3_600),
    };
    parse_digits(number)?.checked_mul(scale_seconds).map(Duration::from_secs)
}

/// What [`parse_duration`] accepts, for messages.
pub const DURATION_FORM: &str =
    "a duration such as 45s, 30m, 24h, 7d or 2w (a bare number is hours)";

/// What [`parse_size`] accepts, for messages.
pub const SIZE_FORM: &str = "a size such as 50GB, 50GiB or a number of bytes";

fn parse_digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Declares an enumeration whose values have names in the configuration.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            pub const NAMES: &[&str] = &[$($text),+];

            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

choice! {
    /// How a file of the store reaches a target directory.
    LinkMode {
        /// The first of the others that the two filesystems allow.
        Auto = "auto",
        Clone = "clone",
        Hardlink = "hardlink",
        Copy = "copy",
    }
}

choice! {
    /// How often something is checked that should always hold.
    Verify {
        Off = "off",
        Sampled = "sampled",
        Always = "always",
    }
}

/// One in this many is checked when sampling.
const SAMPLED_ONE_IN: u64 = 32;

impl Verify {
    /// Whether to check the thing of this digest: always the same answer for the same thing.
    pub fn applies(self, digest: &store_format::Digest) -> bool {
        match self {
            Self::Off => false,
            Self::Sampled => digest.prefix().is_multiple_of(SAMPLED_ONE_IN),
            Self::Always => true,
        }
    }
}

choice! {
    /// What kind of remote store is used.
    RemoteKind {
        S3 = "s3",
        Filesystem = "filesystem",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_or_binary_units_or_bytes() {
        assert_eq!(parse_size("50GB"), Some(50_000_000_000));
        assert_eq!(parse_size("50 GiB"), Some(50 << 30));
        assert_eq!(parse_size("1.5kib"), Some(1536));
        assert_eq!(parse_size("0.000000001GB"), Some(1));
        assert_eq!(parse_size("123"), Some(123));
        assert_eq!(parse_size("7B"), Some(7));
        for wrong in ["", "GB", "-1GB", "1.5", "1.5B", "50G", "1e9", "1..5GB", ".5GB", "99999999TB"]
        {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_one_unit_and_bare_numbers_are_hours() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("45s"), Some(45));
        assert_eq!(seconds("30m"), Some(1_800));
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("7d"), Some(604_800));
        assert_eq!(seconds("2w"), Some(1_209_600));
        assert_eq!(seconds("3"), Some(10_800));
        for wrong in ["", "h", "1h30m", "-1h", "1.5h", "1 h", "1y", "99999999999999999999w", "3é"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn choices_are_read_back_by_their_names() {
        for name in LinkMode::NAMES {
            assert_eq!(LinkMode::from_name(name).map(LinkMode::name), Some(*name));
        }
        assert_eq!(Verify::from_name("Always"), None);
    }
}
