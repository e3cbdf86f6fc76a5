//! Detection of blocks of zeros.

/// Returns whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // The compiler vectorises the loop over blocks of constant size.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|c| c.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros() {
        assert!(is_zero(&[0; 1000]));
        let mut v = vec![0; 1000];
        v[999] = 1;
        assert!(!is_zero(&v));
    }
}
