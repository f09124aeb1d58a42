//! Large samples behind small ones: how many are read at a time is known of those before.

use samplestore::{Query, Sample, Selection, Status, Storage, connect, data};

use super::shared;

const SMALL: usize = 2_600;
const LARGE: usize = 200;
const BYTES: usize = 1 << 20;

fn of_bytes(number: usize, bytes: usize) -> Sample {
    let at = chrono::DateTime::from_timestamp(1_370_000_000 + number as i64, 0);
    Sample::builder("p")
        .id(format!("{number:04}"))
        .created_at(at.unwrap())
        .data(data! { "text" => "x".repeat(bytes), "n" => number as u64 })
        .build()
        .unwrap()
}

/// Stores the small ones, and then so many large ones.
fn fill(storage: &dyn Storage, large: usize) {
    let small: Vec<_> = (0..SMALL).map(|number| of_bytes(number, 8)).collect();
    storage.store(&small).unwrap();
    let numbers: Vec<_> = (SMALL..SMALL + large).collect();
    for numbers in numbers.chunks(20) {
        let batch: Vec<_> = numbers
            .iter()
            .map(|number| of_bytes(*number, BYTES))
            .collect();
        storage.store(&batch).unwrap();
    }
}

#[test]
fn an_iterator_that_is_dropped_amid_large_samples_is_in_nobodys_way() {
    let Some(server) = shared() else { return };
    let url = format!("{}&connections_max=1", server.url(&server.schema()));
    let storage = connect(&url).unwrap();
    fill(&*storage, 40);
    for taken in [SMALL - 1, SMALL + 1, SMALL + 9, SMALL + 40] {
        let mut reading = storage.iterate(&Query::new()).unwrap();
        for number in 0..taken {
            let sample = reading.next().unwrap().unwrap();
            assert_eq!(sample.id(), format!("{number:04}"));
        }
        drop(reading);
        let count = storage.count(&Query::new()).unwrap();
        assert_eq!(count, SMALL as u64 + 40);
    }
}

/// The memory of a process is asked of Linux.
#[cfg(target_os = "linux")]
mod memory {
    use std::process::Command;

    use super::*;

    const PLACE: &str = "SAMPLESTORE_TEST_POSTGRES";
    /// A few pieces, and what there is besides: the program, and what a connection reads at a time.
    const PEAK_MIB_MAX: u64 = 100;

    /// The child's part; nothing at all when the tests are run as usual.
    #[test]
    fn child_reads_and_moves() {
        let Ok(url) = std::env::var(PLACE) else {
            return;
        };
        let storage = connect(&url).unwrap();
        let mut count = 0;
        for sample in storage.iterate(&Query::new()).unwrap() {
            assert_eq!(sample.unwrap().id(), format!("{count:04}"));
            count += 1;
        }
        let all = Query::new().condition("data.n >= 0".parse().unwrap());
        let moved = storage.set_status(&Selection::from(all), None, Status::Ready);
        println!("read {count}, moved {}", moved.unwrap());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
        println!("{}", peak.unwrap());
    }

    #[test]
    fn reading_and_moving_take_less_memory_than_what_is_read() {
        let Some(server) = shared() else { return };
        let url = server.url(&server.schema());
        fill(&*connect(&url).unwrap(), LARGE);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["postgres::large::memory::child_reads_and_moves", "--exact"])
            .arg("--nocapture")
            .env(PLACE, url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        let all = SMALL + LARGE;
        assert!(
            said.contains(&format!("read {all}, moved {all}\n")),
            "{said}"
        );
        let peak = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        let mib = kib.parse::<u64>().unwrap() / 1024;
        println!("at most {mib} MiB of {} MiB", (LARGE * BYTES) >> 20);
        assert!(mib < PEAK_MIB_MAX, "{mib} MiB");
    }
}
