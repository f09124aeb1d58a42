//! The conformance suite on a topic and its consumer: what was stored comes back equal through a broker.

use std::sync::{Mutex, PoisonError};

use samplestore::conformance::Suite;
use samplestore::{
    Capabilities, MemoryStorage, Query, Result, Sample, Scan, Selection, Storage, StoreReport,
    connect,
};

use super::{Reader, shared};

/// Stores into a topic, and reads what a consumer makes of it.
struct ReadBack {
    stream: Box<dyn Storage>,
    consumed: Mutex<Reader>,
    samples: MemoryStorage,
    turn: Mutex<()>,
}

impl ReadBack {
    fn open(servers: &str, topic: &str, url: &str) -> Result<Self> {
        let stream = connect(url)?;
        Ok(Self {
            consumed: Mutex::new(Reader::open(servers, topic)),
            stream,
            samples: MemoryStorage::new(),
            turn: Mutex::default(),
        })
    }

    /// Reads on.
    fn consume(&self) -> Result<()> {
        let mut reader = self.consumed.lock().unwrap_or_else(PoisonError::into_inner);
        for read in reader.read() {
            match read.value {
                Some(_) => drop(self.samples.store(&[read.sample()])?),
                None => drop(self.samples.delete(&Selection::ids([&read.key]))?),
            }
        }
        Ok(())
    }
}

impl Storage for ReadBack {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.stream.capabilities();
        (capabilities.retrieve, capabilities.query) = (true, true);
        capabilities
    }
    /// What a stream cannot tell apart its consumer can, while nobody else stores.
    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.flush()?;
        self.consume()?;
        let before = self.samples.count(&Query::new())?;
        let stored = self.stream.store(batch)?.stored();
        self.consume()?;
        let inserted = self.samples.count(&Query::new())? - before;
        Ok(StoreReport::new(inserted, stored - inserted))
    }
    fn flush(&self) -> Result<()> {
        self.stream.flush()
    }
    fn close(&self) -> Result<()> {
        self.stream.close()
    }
    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.stream.flush()?;
        self.consume()?;
        self.samples.retrieve(id)
    }
    fn scan(&self) -> Result<Scan<'_>> {
        self.stream.flush()?;
        self.consume()?;
        self.samples.scan()
    }
}

#[test]
fn what_was_stored_comes_back_through_a_consumer() {
    let Some(broker) = shared() else { return };
    let open = |topic: &String| ReadBack::open(&broker.servers(), topic, &broker.url(topic));
    // What samples are and what batches do; what is asked of them is for whoever reads.
    let rules = [
        "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "W1", "W2", "W3", "W4", "W5", "W6", "W7",
        "R1", "R4", "L1", "L2",
    ];
    let report = Suite::reopening(|| broker.topic(), open).only(rules).run();
    println!("{report}");
    report.assert_passed();
    for entry in report.skipped() {
        let said = format!("{:?}", entry.outcome);
        assert!(
            ["atomic batches", "`delete`", "`set_status`"]
                .iter()
                .any(|it| said.contains(it)),
            "{said}"
        );
    }
}
