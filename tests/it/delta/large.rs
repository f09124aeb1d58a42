//! Large samples, and more of them than are held in memory.

use samplestore::{Query, Sample, Status, Storage, data};

use super::Folder;

/// Of one instant, so that only the order of storing tells them apart.
fn large(number: usize, bytes: usize) -> Sample {
    let text = format!("{number:04}").repeat(bytes / 4);
    Sample::builder("p")
        .id(format!("{number:04}"))
        .created_at("2013-06-01T00:00:00Z".parse().unwrap())
        .data(data! { "text" => text })
        .build()
        .unwrap()
}

#[test]
fn samples_of_many_megabytes_are_stored_moved_and_read() {
    const COUNT: usize = 24;
    let sample = |number| large(number, 10 << 20);
    let folder = Folder::new();
    let table = folder.open();
    for first in (0..COUNT).step_by(6) {
        let batch: Vec<_> = (first..first + 6).map(sample).collect();
        assert_eq!(table.store(&batch).unwrap().inserted, 6);
    }
    let optimized = table.optimize().unwrap();
    assert_eq!((optimized.files_before, optimized.files_after), (4, 1));
    let moved = table.set_status(&Query::new().limit(2).into(), None, Status::Ready);
    assert_eq!(moved.unwrap(), 2);
    let expected = |number| match number {
        0 | 1 => sample(number).with_status(Status::Ready),
        _ => sample(number),
    };
    let mut count = 0;
    for (number, read) in table.iterate(&Query::new()).unwrap().enumerate() {
        assert!(read.unwrap() == expected(number), "{number}");
        count += 1;
    }
    assert_eq!(count, COUNT);
    let page = table.list(&Query::new().newest_first().limit(3)).unwrap();
    let newest: Vec<_> = (COUNT - 3..COUNT).rev().map(sample).collect();
    assert!(page.samples == newest);
    let rest = Query::new().newest_first().limit(3);
    let rest = table.list(&rest.cursor(page.next.unwrap())).unwrap();
    assert_eq!(rest.samples[0].id(), "0020");
    assert!(table.retrieve("0001").unwrap() == Some(expected(1)));
}

/// The memory of a process is asked of Linux.
#[cfg(target_os = "linux")]
mod memory {
    use std::process::Command;

    use super::*;

    const TABLE: &str = "SAMPLESTORE_TEST_DELTA_TABLE";
    const COUNT: usize = 640;
    const BYTES: usize = 1 << 20;
    /// What sorting holds at the most, and what there is besides: the program, and what it reads at a time.
    const PEAK_MIB_MAX: u64 = 256 + 32 + 160;

    /// The child's part; nothing at all when the tests are run as usual.
    #[test]
    fn child_reads_a_table() {
        let Ok(url) = std::env::var(TABLE) else {
            return;
        };
        let table = samplestore::connect(&url).unwrap();
        // The first ones in order are more than are found in memory.
        for limit in [COUNT, COUNT - 1, 250] {
            let query = Query::new().limit(limit as u64);
            for (order, newest) in [(query.clone(), false), (query.newest_first(), true)] {
                let mut count = 0;
                for sample in table.iterate(&order).unwrap() {
                    let number = if newest { COUNT - 1 - count } else { count };
                    assert_eq!(sample.unwrap().id(), format!("{number:04}"));
                    count += 1;
                }
                println!("read {count}");
            }
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
        println!("{}", peak.unwrap());
    }

    #[test]
    fn reading_a_table_takes_less_memory_than_the_table_has() {
        let folder = Folder::new();
        let table = folder.open();
        // The last ones first, so that all must be put in order.
        for first in (0..COUNT).step_by(16).rev() {
            let sample = |number: usize| {
                let at = chrono::DateTime::from_timestamp(1_370_000_000 + number as i64, 0);
                let sample = large(number, BYTES).into_builder();
                sample.created_at(at.unwrap()).build().unwrap()
            };
            let batch: Vec<_> = (first..first + 16).map(sample).collect();
            table.store(&batch).unwrap();
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["delta::large::memory::child_reads_a_table", "--exact"])
            .arg("--nocapture")
            .env(TABLE, folder.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        let read = [640, 639, 250].map(|count| format!("read {count}\nread {count}\n"));
        assert!(said.contains(&read.concat()), "{said}");
        let peak = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        let mib = kib.parse::<u64>().unwrap() / 1024;
        println!("at most {mib} MiB of {} MiB", (COUNT * BYTES) >> 20);
        assert!(mib < PEAK_MIB_MAX, "{mib} MiB");
    }
}
