//! Compression of one frame: raw, zstd, or zstd with an old chunk as the dictionary (a delta).
//!
//! The profile affects only speed and size; the same decompressor reads the output of every
//! profile.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, Strategy};

/// The compression settings, chosen by content (decision 0001).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompressionProfile {
    /// Long matches only, with entropy coding of everything else; for data of random digits, as in
    /// database rows.
    Literal,
    Normal,
    /// zstd level 6, for trees and chunk lists, which are small.
    High,
    /// zstd level 2 with the base as a prefix.
    Delta,
}

/// The error for data that cannot be decompressed.
#[derive(Debug, thiserror::Error)]
#[error("compressed data is damaged: {0}")]
pub struct BadData(&'static str);

/// Compresses frames; reuses its working memory between calls.
pub struct Compressor {
    context: CCtx<'static>,
    profile: Option<CompressionProfile>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            context: CCtx::create(),
            profile: None,
        }
    }
}

impl Compressor {
    /// Compresses `plain` into `out`, replacing its content. Returns false if the result is not
    /// smaller; the caller then stores `plain` raw.
    pub fn compress(
        &mut self,
        profile: CompressionProfile,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        self.set(profile);
        self.run(plain, out)
    }

    /// Compresses `plain` into `out` as a delta of `base`. Returns false if the result is not
    /// smaller than `plain`.
    pub fn delta(&mut self, base: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
        // Use a new context for each delta, because `ref_prefix` borrows the base for the lifetime
        // of the context. Creating a context takes 10 us.
        let mut context = CCtx::create();
        apply(&mut context, CompressionProfile::Delta);
        if context.ref_prefix(base).is_err() {
            return false;
        }
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        context.compress2(out, plain).is_ok() && out.len() < plain.len()
    }

    fn set(&mut self, profile: CompressionProfile) {
        if self.profile != Some(profile) {
            apply(&mut self.context, profile);
            self.profile = Some(profile);
        }
    }

    fn run(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.context.compress2(out, plain).is_ok() && out.len() < plain.len()
    }
}

fn apply(context: &mut CCtx<'_>, profile: CompressionProfile) {
    let parameters: &[CParameter] = match profile {
        // On a MariaDB directory, the result is 3 % smaller than with level 3, in half the time
        // (docs/decisions/0001).
        CompressionProfile::Literal => &[
            CParameter::CompressionLevel(1),
            CParameter::Strategy(Strategy::ZSTD_fast),
            CParameter::MinMatch(7),
        ],
        CompressionProfile::Normal => &[CParameter::CompressionLevel(3)],
        CompressionProfile::High => &[CParameter::CompressionLevel(6)],
        // A window of 512 KiB covers a base and a chunk of at most 256 KiB each.
        // Level 3 would make deltas 0.5 % smaller, but takes at least 1.6 times as long
        // (docs/decisions/0001).
        CompressionProfile::Delta => &[CParameter::CompressionLevel(2), CParameter::WindowLog(19)],
    };
    // Neither call can fail between frames and with known parameters. If one fails anyway,
    // the defaults of zstd apply.
    let _ = context.reset(zstd::zstd_safe::ResetDirective::SessionAndParameters);
    for parameter in parameters {
        let _ = context.set_parameter(*parameter);
    }
}

/// Decompresses frames; reuses its working memory between calls.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self {
            context: DCtx::create(),
        }
    }
}

impl Decompressor {
    /// Decompresses `payload` into `out`, replacing its content. The result must have exactly `len`
    /// bytes.
    pub fn zstd(&mut self, payload: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), BadData> {
        out.clear();
        // The capacity limits the output, so damaged data cannot fill the memory.
        out.reserve_exact(len);
        let got = self
            .context
            .decompress(out, payload)
            .map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        if got == len {
            Ok(())
        } else {
            Err(BadData("wrong length"))
        }
    }

    /// Decompresses a delta of `base` into `out`, replacing its content. The result must have
    /// exactly `len` bytes.
    pub fn delta(
        &mut self,
        base: &[u8],
        payload: &[u8],
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), BadData> {
        // Use a new context, because `ref_prefix` borrows the base for the lifetime of the context.
        // Decoding a delta then takes 0.025 ms instead of 0.011 ms (docs/decisions/0001).
        let mut context = DCtx::create();
        context
            .ref_prefix(base)
            .map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        out.clear();
        out.reserve_exact(len);
        let got = context
            .decompress(out, payload)
            .map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        if got == len {
            Ok(())
        } else {
            Err(BadData("wrong length"))
        }
    }
}

/// Returns whether a page consists mostly of digits, judged by three samples of 1 KiB. Zstd level 1
/// without short matches compresses such pages best (decision 0001).
pub fn mostly_digits(plain: &[u8]) -> bool {
    const SAMPLE: usize = 1024;
    if plain.len() < 4 * SAMPLE {
        return false;
    }
    let samples =
        [plain.len() / 8, plain.len() / 2, plain.len() - SAMPLE].map(|at| &plain[at..at + SAMPLE]);
    let digits = samples
        .iter()
        .flat_map(|s| s.iter())
        .filter(|b| b.is_ascii_digit() || **b == b'-')
        .count();
    // The threshold is 0.4 of the samples, as measured in docs/decisions/0001.
    digits * 10 >= 3 * SAMPLE * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| (i * i / 7 % 251).to_le_bytes()[0])
            .collect()
    }

    #[test]
    fn round_trips() {
        let plain = sample(100_000);
        for profile in [
            CompressionProfile::Literal,
            CompressionProfile::Normal,
            CompressionProfile::High,
        ] {
            let (mut packed, mut back) = (Vec::new(), Vec::new());
            assert!(Compressor::default().compress(profile, &plain, &mut packed));
            Decompressor::default()
                .zstd(&packed, plain.len(), &mut back)
                .unwrap();
            assert_eq!(back, plain);
            assert!(
                Decompressor::default()
                    .zstd(&packed, plain.len() - 1, &mut back)
                    .is_err()
            );
        }
    }

    #[test]
    fn a_delta_is_small() {
        let base = sample(65536);
        let mut plain = base.clone();
        plain[30_000..30_100].fill(3);
        let (mut packed, mut back) = (Vec::new(), Vec::new());
        assert!(Compressor::default().delta(&base, &plain, &mut packed));
        assert!(packed.len() < 300, "{}", packed.len());
        Decompressor::default()
            .delta(&base, &packed, plain.len(), &mut back)
            .unwrap();
        assert_eq!(back, plain);
    }

    #[test]
    fn digits_are_seen() {
        assert!(mostly_digits(
            &b"83868641912-28773972837-60736120486".repeat(200)
        ));
        assert!(!mostly_digits(&sample(100_000)));
        assert!(!mostly_digits(include_bytes!("compress.rs")));
    }
}
