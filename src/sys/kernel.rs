//! The release of the running kernel.

/// Returns the release of the running kernel, such as `6.18.3-cloud-amd64`.
pub fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Returns whether the running kernel has at least the given version (major and minor).
pub fn is_at_least(version: (u32, u32)) -> bool {
    parse(&release()).is_some_and(|running| running >= version)
}

/// Returns the major and minor version of a release.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(
            (parse("6.18.3-cloud-amd64"), parse("6.1"), parse("6.9-rc1")),
            (Some((6, 18)), Some((6, 1)), Some((6, 9)))
        );
        assert!(parse("7.0.0-rc1") > Some((6, 16)) && parse("6.15.9") < Some((6, 16)));
        assert_eq!((parse("6"), parse("next"), parse("")), (None, None, None));
        assert!(is_at_least((3, 0)) && !is_at_least((1000, 0)));
    }
}
