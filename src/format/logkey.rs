//! Keys of log entries: refs, forgotten versions, garbage collection.
//!
//! A log is a directory, and the name of an entry is derived from its number. Numbers start at 1
//! and are never reused.

/// Returns the last component of an entry's key. The encoded number counts down, so that keys sort
/// newest first.
pub fn seq_key(seq: u64) -> String {
    format!("{:016x}", u64::MAX - seq)
}

/// Returns the last component of an entry's key for a store without conditional writes. The key
/// contains the id of the update, so that two writers never write to the same key.
pub fn unique_seq_key(seq: u64, update: &str) -> String {
    format!("{}.{update}", seq_key(seq))
}

/// Returns the number of an entry from its key, in the form of [`seq_key`] or of
/// [`unique_seq_key`].
pub fn seq_of_key(key: &str) -> Option<u64> {
    let (digits, update) = key
        .split_once('.')
        .map_or((key, None), |(digits, update)| (digits, Some(update)));
    let hex = |s: &str, len: usize| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
    // The digits are checked first, because `from_str_radix` also accepts a plus sign.
    (hex(digits, 16) && update.is_none_or(|u| hex(u, 32))).then_some(())?;
    u64::from_str_radix(digits, 16).ok().map(|n| u64::MAX - n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_newest_first() {
        assert!(seq_key(2) < seq_key(1));
        assert_eq!(seq_of_key(&seq_key(77)), Some(77));
        assert_eq!(seq_of_key(&unique_seq_key(77, &"0a".repeat(16))), Some(77));
        for bad in [
            "x",
            "0123",
            "000000000000000g",
            "0000000000000001.x",
            "0000000000000001.",
        ] {
            assert_eq!(seq_of_key(bad), None, "{bad}");
        }
    }
}
