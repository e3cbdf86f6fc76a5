//! Compressed streams from other programs, detected by their first bytes.
//!
//! Data that cannot be decompressed is an error of kind `InvalidData`; a truncated stream is
//! `UnexpectedEof`. Reading a stream to its end verifies all its checksums.

use std::io::{self, BufReader, Cursor, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::Kind;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The end of the magic number of a skippable zstd frame. Such a frame has no data and may come
/// first.
const SKIPPED: &[u8] = &[0x2a, 0x4d, 0x18];
/// Limit on the window of a zstd stream, as a power of two: 128 MiB, like the default limit of the
/// zstd command-line tool.
const WINDOW_LOG: u32 = 27;
const BUFFER: usize = 256 << 10;

/// Returns a reader of the uncompressed bytes of a stream, which may be compressed by gzip or zstd.
pub fn plain<'r>(mut input: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let mut head = [0; 4];
    let mut len = 0;
    // A pipe may return fewer bytes than requested.
    while len < head.len() {
        match input.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let head = head[..len].to_vec();
    let is_zstd = head.starts_with(ZSTD)
        || (head.len() == 4 && head[0] & 0xf0 == 0x50 && &head[1..] == SKIPPED);
    let is_gzip = head.starts_with(GZIP);
    let whole = Cursor::new(head).chain(input);
    if is_zstd {
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, whole))?;
        decoder.window_log_max(WINDOW_LOG)?;
        return Ok(Box::new(Zstd(decoder)));
    }
    if is_gzip {
        // Several gzip members in sequence are one stream (RFC 1952, section 2.2).
        return Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(
            BUFFER, whole,
        ))));
    }
    Ok(Box::new(whole))
}

/// Returns whether a stream that begins with these bytes is compressed by gzip or zstd. A zstd
/// stream that begins with a skippable frame is not detected.
pub fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(GZIP) || head.starts_with(ZSTD)
}

struct Zstd<R>(R);

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|e| match e.kind() {
            // The decoder reports its errors as `Other`. Errors of the source may be `Other`, too,
            // but have a known kind.
            io::ErrorKind::Other if Kind::of_io(&e) == Kind::Internal => {
                io::Error::new(io::ErrorKind::InvalidData, e)
            }
            _ => e,
        })
    }
}

/// A gzip compressor with reproducible output.
pub struct Gzip<W: Write>(GzEncoder<W>);

impl<W: Write> Gzip<W> {
    /// Returns a compressor that writes to `out`.
    pub fn new(out: W) -> Self {
        // The header that `GzEncoder` writes has no timestamp, so equal input yields equal output.
        Self(GzEncoder::new(out, Compression::new(2)))
    }

    /// Writes the remaining bytes and the trailer. Returns the output.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        plain(bytes)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn all_kinds_and_what_is_broken() {
        let text = b"some text and more of it ".repeat(1000);
        let mut gzip = Gzip::new(Vec::new());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(&text).unwrap();
        let zstd = zstd.finish().unwrap();
        assert!(gzip.len() < 1000 && zstd.len() < 1000);
        assert_eq!(read(&text).unwrap(), text);
        assert_eq!(read(b"ab").unwrap(), b"ab");
        assert_eq!(read(b"").unwrap(), b"");
        for packed in [gzip, zstd] {
            assert!(is_compressed(&packed));
            assert_eq!(read(&packed).unwrap(), text);
            assert_eq!(read(&packed.repeat(2)).unwrap(), text.repeat(2));
            let cut = read(&packed[..packed.len() - 1]).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
            // Corrupt one byte in the middle and two near the end: in gzip, these two are in the
            // checksum and in the length; in zstd, in the last block and in the checksum.
            for at in [packed.len() / 2, packed.len() - 6, packed.len() - 2] {
                let mut changed = packed.clone();
                changed[at] ^= 0x10;
                let e = read(&changed).unwrap_err();
                let broken = [
                    io::ErrorKind::InvalidData,
                    io::ErrorKind::InvalidInput,
                    io::ErrorKind::UnexpectedEof,
                ];
                assert!(broken.contains(&e.kind()), "{at}: {e:?}");
            }
        }
    }

    #[test]
    fn errors_of_the_source_stay_what_they_are() {
        struct Fails(bool);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                buffer[..4].copy_from_slice(ZSTD);
                Ok(4)
            }
        }
        let e = plain(Fails(false)).unwrap().read(&mut [0; 10]).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::PermissionDenied);
    }
}
