//! Detection of files that consist of pages, based on the first 64 KiB and the size.
//!
//! A database overwrites pages at fixed offsets, so with chunks of a fixed size, the chunks around
//! a changed page stay the same. All other files get content-defined chunks. The detection uses
//! neither names nor history, because the same bytes must get the same ids everywhere.

use super::zero::is_zero;

/// Number of bytes that [`is_paged`] examines. A shorter file is never detected as a file of pages.
pub const HEAD: usize = 64 * 1024;

/// Returns whether a file of `size` bytes consists of pages. `head` contains its first [`HEAD`]
/// bytes, or the whole file.
pub fn is_paged(head: &[u8], size: u64) -> bool {
    size >= HEAD as u64
        && (is_sqlite(head) || is_innodb(head) || is_postgres(head) || is_innodb_log(head))
}

fn is_sqlite(head: &[u8]) -> bool {
    head.starts_with(b"SQLite format 3\0")
}

/// InnoDB overwrites its redo logs in place, as ring buffers. A log starts with a format number and
/// has the name of its creator at byte 16.
fn is_innodb_log(head: &[u8]) -> bool {
    let creator = head.get(16..48).unwrap_or_default();
    (head.starts_with(b"Phys") || head.starts_with(&[0, 0, 0]))
        && (creator.starts_with(b"MariaDB ") || creator.starts_with(b"MySQL "))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let b = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    let b = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([b[0], b[1]]))
}

/// Each InnoDB page contains its number at byte 4 and its tablespace at byte 34; the first page is
/// a header page (type 8).
fn is_innodb(head: &[u8]) -> bool {
    [16384, 8192, 4096, 32768].into_iter().any(|page| {
        let Some(space) = be32(head, 34) else {
            return false;
        };
        let first = matches!(head.get(24..26), Some([0, 8]));
        first
            && head.len() >= 2 * page
            && head.chunks_exact(page).enumerate().all(|(i, p)| {
                let numbered = be32(p, 4).is_some_and(|n| usize::try_from(n).is_ok_and(|n| n == i));
                // InnoDB extends files by zeros, so a page that was never written has no number.
                (numbered && be32(p, 34) == Some(space)) || (i > 0 && is_zero(p))
            })
    })
}

/// The heap and index pages of PostgreSQL are 8 KiB, with layout version 4 and ascending free-space
/// pointers.
fn is_postgres(head: &[u8]) -> bool {
    let valid = |p: &[u8]| {
        let fields = (le16(p, 12), le16(p, 14), le16(p, 16), le16(p, 18));
        let (Some(lower), Some(upper), Some(special), Some(version)) = fields else {
            return false;
        };
        // The field `pd_pagesize_version` of bufpage.h: the page size 0x2000 and the layout version
        // 4. The header has 24 bytes.
        version == 0x2004
            && (24..=8192).contains(&lower)
            && lower <= upper
            && upper <= special
            && special <= 8192
    };
    head.len() >= 8192
        && head
            .chunks_exact(8192)
            .enumerate()
            .all(|(i, p)| valid(p) || (i > 0 && is_zero(p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_are_cut_by_content() {
        assert!(!is_paged(b"hello", 5));
        assert!(!is_paged(&[7; HEAD], 1 << 30));
        assert!(!is_paged(&[0; HEAD], 1 << 30));
    }

    #[test]
    fn databases_are_cut_in_pages() {
        let mut sqlite = b"SQLite format 3\0".to_vec();
        sqlite.resize(HEAD, 1);
        assert!(is_paged(&sqlite, 1 << 20));

        let mut innodb = vec![0u8; HEAD];
        for i in 0..4u8 {
            let at = usize::from(i) * 16384;
            // The number of the page and, for all pages, tablespace 9.
            innodb[at + 7] = i;
            innodb[at + 37] = 9;
        }
        // The type of the first page is `FIL_PAGE_TYPE_FSP_HDR`.
        innodb[25] = 8;
        assert!(is_paged(&innodb, 1 << 20));
        // A wrong page number: the file only looks like a tablespace.
        innodb[16384 + 7] = 5;
        assert!(!is_paged(&innodb, 1 << 20));

        let mut log = b"Phys\0\0\0\0\0\0\0\0\0\x000\0MariaDB 10.11.19".to_vec();
        log.resize(HEAD, 0);
        assert!(is_paged(&log, 96 << 20));

        let mut postgres = vec![1u8; HEAD];
        for p in postgres.chunks_exact_mut(8192) {
            // Free space from 100 to 200, special space at 8192 (none), page size and layout
            // version 0x2004.
            p[12..20].copy_from_slice(&[100, 0, 200, 0, 0, 32, 4, 32]);
        }
        assert!(is_paged(&postgres, 1 << 20));
    }
}
