//! What lies in the log and does not follow.

use super::*;

/// Two lives of a log: of the second commit of the first one something is missing, and what it wrote behind that is still there.
#[test]
fn of_two_records_of_a_number_the_one_that_follows_counts() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    for number in 1..=4 {
        append_as(&mut log, number, false);
    }
    let second = layout().half_start(0) + PAGE_BYTES;
    disk.write(second, &[0; 100]).unwrap();
    let (mut log, records) = open(&disk, Mark::default());
    assert_eq!(records, [1]);
    // Of one page each, where the second had two: the third of the first life stays.
    log.append(2, &[&[2; 10]], true).unwrap();
    log.append(3, &[&[3; 10]], true).unwrap();
    let bytes = disk.bytes();
    let third = (layout().half_start(0) + 3 * PAGE_BYTES) as usize;
    assert_eq!(bytes[third + 8], 3);
    for len in [bytes.len(), third + PAGE_BYTES as usize] {
        let found = Log::find_all(copy(&bytes[..len]), layout()).unwrap();
        let found: Vec<_> = found.iter().map(|record| record.payload.len()).collect();
        let expected = match len == bytes.len() {
            true => vec![100, 10, 10, payload(4).len()],
            false => vec![100, 10, 10],
        };
        assert_eq!(found, expected);
    }
    // Without the second life's second one nothing says which of the two it is, but that the fourth follows one.
    let mut without = bytes;
    without[second as usize..][..8].fill(0);
    let found = Log::find_all(copy(&without), layout()).unwrap();
    let found: Vec<_> = found.iter().map(|record| record.payload.len()).collect();
    assert_eq!(found, [100, payload(3).len(), payload(4).len()]);
}

/// Pages that all pretend to begin a record which goes on to the end.
#[test]
fn what_pretends_to_be_records_is_not_read_for_ever() {
    let layout = Layout {
        half_bytes: 4 << 20,
        base: 16 << 20,
        ..layout()
    };
    let pretended = |pages: u64| {
        let disk = Arc::new(MemoryDisk::default());
        disk.set_len(layout.half_start(1)).unwrap();
        for page in 0..pages {
            let at = layout.half_start(0) + page * PAGE_BYTES;
            let bytes = (layout.half_start(1) - at) as usize - HEADER_BYTES;
            let mut header = [0; HEADER_BYTES];
            header[..4].copy_from_slice(&MAGIC.to_le_bytes());
            header[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
            header[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
            header[24] = IS_DURABLE as u8;
            disk.write(at, &header).unwrap();
        }
        disk
    };
    assert!(Log::open(pretended(2), layout, Mark::default(), false).is_ok());
    assert!(Log::find_all(pretended(2), layout).unwrap().is_empty());
    let counted = Arc::new(Counted {
        disk: pretended(1_000),
        bytes_read: AtomicUsize::new(0),
    });
    let refused = Log::open(counted.clone(), layout, Mark::default(), false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(counted.bytes_read.load(Ordering::Relaxed) < 20 << 20);
    let refused = Log::find_all(counted, layout).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
}
