//! Runs every decoder on mutated valid input and on noise: no decoder panics, allocates much memory
//! or accepts damaged input in part.
//!
//! The decoders are those of `fuzz/`, which run under libFuzzer there. Here each runs a fixed
//! number of times with a fixed seed; `DVC_TEST_SEED` changes the seed.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

#[path = "../../../fuzz/src/lib.rs"]
mod all;

use all::{DECODERS, Decoder};

/// Number of mutated inputs per decoder.
const ROUNDS: usize = 4000;
/// Limit on the address space beyond that of the test itself, in bytes. Decoding 64 KiB needs much
/// less.
const ROOM: u64 = 256 << 20;

/// Xorshift: a small and fast generator with the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % below.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 12] = [
            0, 1, 0x7f, 0x80, 0xff, 0x1b, 0x3b, 0x5b, 0x9b, 0xbb, 0x9f, 0xf6,
        ];
        if self.roll(2) == 0 {
            TELLING[self.roll(TELLING.len())]
        } else {
            u8::try_from(self.roll(256)).unwrap()
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (a, b) = (self.roll(bytes.len() + 1), self.roll(bytes.len() + 1));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 64));
        match self.roll(8) {
            0 if from < bytes.len() => bytes[from] ^= 1 << self.roll(8),
            1 if from < bytes.len() => bytes[from] = self.byte(),
            2 => bytes.truncate(from),
            3 => drop(bytes.drain(from..to)),
            4 => bytes.insert(from, self.byte()),
            5 => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, piece);
            }
            6 => {
                let at = self.roll(other.len() + 1);
                bytes.splice(from..to, other[at..].iter().take(64).copied());
            }
            _ => {
                let ones = vec![0xff; self.roll(9)];
                bytes.splice(from..to.min(from + ones.len()), ones);
            }
        }
    }
}

fn torture(decoder: &Decoder, dice: &mut Dice) {
    let samples = (decoder.samples)();
    for round in 0..ROUNDS {
        let other = &samples[dice.roll(samples.len())];
        let mut bytes = if round % 10 == 0 {
            (0..dice.roll(200)).map(|_| dice.byte()).collect()
        } else {
            samples[dice.roll(samples.len())].clone()
        };
        for _ in 0..=dice.roll(4) {
            dice.mutate(&mut bytes, other);
        }
        (decoder.run)(&bytes);
    }
}

fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn mutated_bytes_do_no_harm() {
    if std::env::var_os("DVC_TEST_CHILD").is_none() {
        // Run in a child with limited memory, so that a decoder that allocates too much does not
        // abort the other tests.
        let out = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "damage::decoders::mutated_bytes_do_no_harm",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("DVC_TEST_CHILD", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && text.contains("1 passed"),
            "{:?}\n{text}",
            out.status
        );
        return;
    }
    let limit = Some(address_space() + ROOM);
    setrlimit(
        Resource::As,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .unwrap();
    let seed = std::env::var("DVC_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_120);
    for decoder in DECODERS {
        println!("{} with seed {seed}", decoder.name);
        torture(decoder, &mut Dice(seed));
    }
}

/// Many nested opening brackets of every kind must not overflow the stack.
#[test]
fn deep_nesting_is_refused() {
    let openings: [&[u8]; 6] = [
        b"\xa1\x11",
        b"\xa1\x00",
        b"\x81",
        b"\xa1\x00\x81\xa1\x11",
        b"\xd8\x18",
        b"[{\"older\":",
    ];
    for opening in openings {
        let deep = opening.repeat(100_000);
        for decoder in DECODERS {
            (decoder.run)(&deep);
            for sample in (decoder.samples)() {
                for at in [1, sample.len() - 1] {
                    (decoder.run)(&[&sample[..at], &deep[..]].concat());
                }
            }
        }
        // Nest at the position of the hard link table in a root, too.
        let root =
            b"\xa2\x00\x80\x02\xa6\x02\x00\x03\x00\x04\x00\x05\x82\x00\x00\x0e\x83\x00\x00\x00\x11";
        all::tree(&[&root[..], &deep[..]].concat());
    }
}

#[test]
fn samples_are_accepted_and_targets_exist() {
    let mut files: Vec<String> =
        std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
    files.sort();
    let names: Vec<String> = DECODERS.iter().map(|d| format!("{}.rs", d.name)).collect();
    assert_eq!(files, names);
    for decoder in DECODERS {
        for sample in (decoder.samples)() {
            assert!(!sample.is_empty(), "{}", decoder.name);
            (decoder.run)(&sample);
        }
    }
    let objects = DECODERS
        .iter()
        .filter(|d| ["commit", "list", "tree"].contains(&d.name));
    for sample in objects.flat_map(|d| (d.samples)()) {
        let accepted = dvc::format::object::decode_commit(&sample).is_ok()
            || dvc::format::object::decode_list(&sample).is_ok()
            || dvc::format::object::decode_tree(&sample).is_ok();
        assert!(accepted, "{sample:?}");
    }
}

/// Writes the samples for `fuzz/run.sh`. Without `DVC_FUZZ_CORPUS` it does nothing.
#[test]
#[ignore = "called by fuzz/run.sh"]
fn write_samples() {
    let Some(dir) = std::env::var_os("DVC_FUZZ_CORPUS").map(PathBuf::from) else {
        return;
    };
    for decoder in DECODERS {
        let dir = dir.join(decoder.name);
        std::fs::create_dir_all(&dir).unwrap();
        for (n, sample) in (decoder.samples)().iter().enumerate() {
            std::fs::write(dir.join(format!("sample-{n}")), sample).unwrap();
        }
    }
}
