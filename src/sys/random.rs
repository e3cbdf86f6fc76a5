//! Random bytes from the kernel, for unique ids.

use super::io_error::IoError;
use crate::model::id::to_hex;

/// Returns 16 random bytes.
pub fn random_bytes() -> Result<[u8; 16], IoError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| IoError::new("get random bytes from", "getrandom(2)", e))?;
    Ok(bytes)
}

/// Returns a random id of 32 hexadecimal digits.
pub fn random_hex() -> Result<String, IoError> {
    Ok(to_hex(&random_bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let (one, two) = (random_hex().unwrap(), random_hex().unwrap());
        assert!(one != two && one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
