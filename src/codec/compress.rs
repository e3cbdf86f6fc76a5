//! Compressing one frame: raw, zstd, or zstd with the old chunk as its dictionary (a delta).
//!
//! The profile only decides speed and size; whatever it is, the same decompressor reads the result.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, Strategy};

/// How hard to try, chosen by content (decision 0001).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Long matches only, the rest entropy-coded: data of random digits, as in database rows.
    Literal,
    /// zstd level 3.
    Normal,
    /// zstd level 6, for the small objects of trees and lists.
    High,
    /// Against a base.
    Delta,
}

/// What can go wrong when decompressing.
#[derive(Debug, thiserror::Error)]
#[error("compressed data is damaged: {0}")]
pub struct BadData(&'static str);

/// Compresses frames; keeps its working memory between calls.
pub struct Compressor {
    context: CCtx<'static>,
    profile: Option<Profile>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { context: CCtx::create(), profile: None }
    }
}

impl Compressor {
    /// Compresses `plain` into `out` (replaced). False: it did not get smaller, store it raw.
    pub fn compress(&mut self, profile: Profile, plain: &[u8], out: &mut Vec<u8>) -> bool {
        self.set(profile);
        self.run(plain, out)
    }

    /// Compresses `plain` against `base` into `out` (replaced). False: no use.
    pub fn delta(&mut self, base: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
        // A prefix is bound to the context's lifetime, so deltas take a context of their own: 10 us.
        let mut context = CCtx::create();
        apply(&mut context, Profile::Delta);
        if context.ref_prefix(base).is_err() {
            return false;
        }
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        context.compress2(out, plain).is_ok() && out.len() < plain.len()
    }

    fn set(&mut self, profile: Profile) {
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

fn apply(context: &mut CCtx<'_>, profile: Profile) {
    let parameters: &[CParameter] = match profile {
        Profile::Literal => {
            &[CParameter::CompressionLevel(1), CParameter::Strategy(Strategy::ZSTD_fast), CParameter::MinMatch(7)]
        }
        Profile::Normal => &[CParameter::CompressionLevel(3)],
        Profile::High => &[CParameter::CompressionLevel(6)],
        Profile::Delta => &[CParameter::CompressionLevel(2), CParameter::WindowLog(19)],
    };
    // Resetting and setting a known parameter cannot fail between frames; a failure only means defaults.
    let _ = context.reset(zstd::zstd_safe::ResetDirective::SessionAndParameters);
    for parameter in parameters {
        let _ = context.set_parameter(*parameter);
    }
}

/// Decompresses frames; keeps its working memory between calls.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self { context: DCtx::create() }
    }
}

impl Decompressor {
    /// Decompresses into `out` (replaced), which must come out `len` bytes long.
    pub fn zstd(&mut self, payload: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), BadData> {
        out.clear();
        out.reserve_exact(len);
        let got =
            self.context.decompress(out, payload).map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        if got == len { Ok(()) } else { Err(BadData("wrong length")) }
    }

    /// Decompresses a delta against `base` into `out` (replaced), which must come out `len` bytes long.
    pub fn delta(&mut self, base: &[u8], payload: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), BadData> {
        let mut context = DCtx::create();
        context.ref_prefix(base).map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        out.clear();
        out.reserve_exact(len);
        let got = context.decompress(out, payload).map_err(|code| BadData(zstd::zstd_safe::get_error_name(code)))?;
        if got == len { Ok(()) } else { Err(BadData("wrong length")) }
    }
}

/// Whether a page holds mostly digits, which level 1 without short matches packs best (decision 0001): a look at three
/// samples of 1 KiB.
pub fn mostly_digits(plain: &[u8]) -> bool {
    const SAMPLE: usize = 1024;
    if plain.len() < 4 * SAMPLE {
        return false;
    }
    let samples = [plain.len() / 8, plain.len() / 2, plain.len() - SAMPLE].map(|at| &plain[at..at + SAMPLE]);
    let digits = samples.iter().flat_map(|s| s.iter()).filter(|b| b.is_ascii_digit() || **b == b'-').count();
    digits * 10 >= 3 * SAMPLE * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * i / 7 % 251).to_le_bytes()[0]).collect()
    }

    #[test]
    fn round_trips() {
        let plain = sample(100_000);
        for profile in [Profile::Literal, Profile::Normal, Profile::High] {
            let (mut packed, mut back) = (Vec::new(), Vec::new());
            assert!(Compressor::default().compress(profile, &plain, &mut packed));
            Decompressor::default().zstd(&packed, plain.len(), &mut back).unwrap();
            assert_eq!(back, plain);
            assert!(Decompressor::default().zstd(&packed, plain.len() - 1, &mut back).is_err());
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
        Decompressor::default().delta(&base, &packed, plain.len(), &mut back).unwrap();
        assert_eq!(back, plain);
    }

    #[test]
    fn digits_are_seen() {
        assert!(mostly_digits(&b"83868641912-28773972837-60736120486".repeat(200)));
        assert!(!mostly_digits(&sample(100_000)));
        assert!(!mostly_digits(include_bytes!("compress.rs")));
    }
}
