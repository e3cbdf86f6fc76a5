//! Sizes as users write them: `4096`, `64K`, `1.5GiB`, `256MB`.

/// Parses a number of bytes: `4096`, `64K`, `1.5G`, `256MiB` (powers of 1024) or `256MB` (powers of
/// 1000).
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid size `{text}`: expected a size such as `256M`");
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) => (letter, 1024u64),
        None => match unit.strip_suffix('b') {
            Some(letter) => (letter, 1000),
            None => (unit.as_str(), 1024),
        },
    };
    let power = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|l| *l == letter)
        .ok_or_else(wrong)?;
    let scale = base.pow(u32::try_from(power).map_err(|_| wrong())?);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    if fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
        return Err(wrong());
    }
    let part: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| wrong())?
    };
    // Six digits times a petabyte need more than 64 bits.
    let part = u128::from(part) * u128::from(scale)
        / 10u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let total = u128::from(whole) * u128::from(scale) + part;
    u64::try_from(total).map_err(|_| format!("size `{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64K"), Ok(65_536));
        assert_eq!(parse("1.5G"), Ok(1_610_612_736));
        assert_eq!(parse("256MiB"), Ok(268_435_456));
        assert_eq!(parse("256MB"), Ok(256_000_000));
        for bad in ["", "x", "-1", "1.K", "12Q", ".5G", "999999999999P", "1 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
