//! Crashes: a loss of power at any moment of a workload leaves a database that opens, in which every
//! acknowledged batch is whole and no batch is there in part, whose indexes agree with its samples, and which goes on.
//!
//! A workload runs on a disk in memory that records every write, resize and sync (`crash/disk.rs`,
//! `crash/record.rs`). Of the recording *images* are made (`crash/image.rs`): what may be on the disk when the power goes
//! at some moment. Each is opened and compared with the states that the samples may have then (`crash/lane.rs`,
//! `crash/verify.rs`). For some, the opening and what comes after it is recorded too, and cut off again.
//!
//! `SAMPLESTORE_CRASH_IMAGES` says how many images, 5,000 unless set; `SAMPLESTORE_CRASH_SEED` repeats a run, as far as
//! the threads in it meet in the same way.

pub(crate) mod bytes;
pub(crate) mod disk;
pub(crate) mod image;
pub(crate) mod lane;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod verify;
pub(crate) mod workload;

use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use samplestore::simulation::Mutant;
use samplestore::{Database, Durability};

use self::bytes::Bytes;
use self::disk::RecordingDisk;
use self::image::{Image, Way, images};
use self::lane::Lane;
use self::random::Random;
use self::record::{By, Mode, Plan, Recording};
use self::verify::Loss;

/// Images of one workload.
const WORKLOAD_IMAGES: usize = 60;
/// Operations of one workload, in each lane.
const OPERATIONS: u64 = 36;
/// Images of one opening and of what comes after it.
const OPENING_IMAGES: usize = 5;
const OPENING_OPERATIONS: u64 = 4;
/// Makes a process the one whose disk lies.
const LIAR_SEED: &str = "SAMPLESTORE_CRASH_LIAR_SEED";

/// What came of some images.
#[derive(Default)]
struct Tally {
    checked: AtomicUsize,
    lost: Mutex<Vec<Lost>>,
}

/// An image that is not as it must be.
struct Lost {
    loss: Loss,
    seed: u64,
    mode: Mode,
    cut: usize,
    way: Way,
    is_second: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            loss,
            seed,
            mode,
            cut,
            way,
            is_second,
        } = self;
        let second = if *is_second { "second " } else { "" };
        write!(
            f,
            "workload {seed} in {mode:?}, {second}image cut at {cut} by {way:?}: {loss}"
        )
    }
}

/// Checks images of one workload until there are so many.
fn crash(plan: Plan, count: usize, tally: &Tally) {
    let mut random = Random::new(!plan.seed);
    let lanes = (0..plan.mode.lanes()).map(|number| Lane::new(plan.seed, number, 0));
    let recording = plan.record(Bytes::default(), lanes.collect()).unwrap();
    // A third of the images are of openings after a crash, and are made of some of the others.
    let firsts = count - count / 3;
    let cuts = (0..firsts).map(|_| {
        let cut = random.below(recording.done.len() as u64 + 1) as usize;
        (cut, random.pick(&Way::ALL))
    });
    let cuts = cuts.collect();
    let mut seconds = count - firsts;
    let every = (firsts * OPENING_IMAGES / seconds.max(1)).max(1);
    let images = images(&recording.start, &recording.done, cuts, &mut random);
    for (number, image) in images.into_iter().enumerate() {
        let Some(steps) = tally.check(&recording, &image, false) else {
            continue;
        };
        if number % every == 0 && seconds > 0 {
            let count = OPENING_IMAGES.min(seconds);
            seconds -= count;
            crash_again(plan, &recording, &image, &steps, count, tally);
        }
    }
}

/// Records what opens an image, and some operations behind that, and checks images of this recording.
fn crash_again(
    plan: Plan,
    first: &Recording,
    image: &Image,
    steps: &[usize],
    count: usize,
    tally: &Tally,
) {
    let mut random = Random::new(plan.seed ^ image.cut as u64);
    let lanes = first
        .lanes
        .iter()
        .zip(steps)
        .map(|(lane, step)| Lane::new(plan.seed, lane.number, lane.first + *step as u64));
    let plan = Plan {
        operations: OPENING_OPERATIONS,
        ..plan
    };
    let recording = plan.record(image.bytes.clone(), lanes.collect()).unwrap();
    let cuts = (0..count).map(|_| {
        // More than half of them while it is opened.
        let end = match random.chance(60) {
            true => recording.opened,
            false => recording.done.len(),
        };
        (
            random.below(end as u64 + 1) as usize,
            random.pick(&Way::ALL),
        )
    });
    let cuts = cuts.collect();
    for image in images(&recording.start, &recording.done, cuts, &mut random) {
        tally.check(&recording, &image, true);
    }
}

impl Tally {
    /// Checks one image, and says which state of each lane it has.
    fn check(&self, recording: &Recording, image: &Image, is_second: bool) -> Option<Vec<usize>> {
        self.checked.fetch_add(1, Ordering::Relaxed);
        let checked = catch_unwind(AssertUnwindSafe(|| check(recording, image)))
            .unwrap_or_else(|_| Err(Loss::Opening("a panic".to_owned())));
        checked
            .map_err(|loss| {
                self.lost.lock().unwrap().push(Lost {
                    loss,
                    seed: recording.seed,
                    mode: recording.mode,
                    cut: image.cut,
                    way: image.way,
                    is_second,
                });
            })
            .ok()
    }

    /// Checks so many images of workloads in all of these modes, on all processors.
    fn run(&self, count: usize, seed: u64, plan: impl Fn(u64) -> Plan + Sync) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workloads = count.div_ceil(WORKLOAD_IMAGES) as u64;
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= workloads {
                            return;
                        }
                        let before = number as usize * WORKLOAD_IMAGES;
                        let count = WORKLOAD_IMAGES.min(count - before);
                        let plan = plan(number);
                        let seed = Random::new(seed.wrapping_add(number)).next();
                        crash(Plan { seed, ..plan }, count, self);
                    }
                });
            }
        });
    }
}

/// Everything that must hold of an image.
fn check(recording: &Recording, image: &Image) -> Result<Vec<usize>, Loss> {
    let disk = RecordingDisk::of(image.bytes.clone(), false);
    let open = || recording.mode.options().open_on(disk.clone());
    let database: Database = open().map_err(|error| Loss::Opening(verify::text(&error)))?;
    let found = verify::samples(&database)?;
    let lanes = &recording.lanes;
    let steps = verify::steps(&found, lanes, |lane| lane.steps_at(image.cut))?;
    verify::check(&database, &found, lanes)?;
    // The check brings everything into the tables, so that what comes behind it is not what comes behind a crash; by
    // turns it is done before and after.
    let is_first = image.cut.is_multiple_of(2);
    if is_first {
        verify::is_sound(&database, found.len())?;
    }
    let (database, samples) = verify::goes_on(database, &found, open)?;
    if !is_first {
        verify::is_sound(&database, samples)?;
    }
    Ok(steps)
}

fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        seed: 0,
        operations: OPERATIONS,
        mutant: None,
        disk_lies: false,
    }
}

/// Says something that is seen although the test passes.
fn say(text: &str) {
    std::io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
}

#[test]
fn whatever_a_loss_of_power_leaves_has_all_that_was_acknowledged() {
    let count = number_in("SAMPLESTORE_CRASH_IMAGES").unwrap_or(5_000) as usize;
    let seed = number_in("SAMPLESTORE_CRASH_SEED")
        .unwrap_or_else(|| Random::new(u64::from(std::process::id())).next() >> 32);
    let modes = Mode::all();
    let tally = Tally::default();
    tally.run(count, seed, |number| {
        plan(modes[number as usize % modes.len()])
    });
    let checked = tally.checked.into_inner();
    let lost = tally.lost.into_inner().unwrap();
    say(&format!(
        "crash images: {checked} checked, {} lost (SAMPLESTORE_CRASH_SEED={seed} repeats it)",
        lost.len()
    ));
    for lost in lost.iter().take(20) {
        say(&lost.to_string());
    }
    assert!(lost.is_empty());
    assert_eq!(checked, count);
}

/// The losses among so many images of plans that must have some.
fn losses(count: usize, seed: u64, plan: impl Fn(u64) -> Plan + Sync) -> Vec<Lost> {
    let tally = Tally::default();
    tally.run(count, seed, plan);
    tally.lost.into_inner().unwrap()
}

/// Not a test of its own: what [`a_disk_that_lies_about_what_is_durable_is_caught`] runs in another process, since
/// redb's destructors may panic on what such a disk leaves while it is panicking already, which aborts the process.
#[test]
fn child_has_a_disk_that_lies() {
    let Some(seed) = number_in(LIAR_SEED) else {
        return;
    };
    for (mode, seed) in Mode::all().into_iter().zip(seed..) {
        let lost = losses(WORKLOAD_IMAGES, seed, |_| Plan {
            disk_lies: true,
            ..plan(mode)
        });
        let losses = lost.iter().map(|lost| &lost.loss);
        let of_samples = losses.filter(|loss| matches!(loss, Loss::Samples(_)));
        println!("samples lost {}", of_samples.count());
    }
}

#[test]
fn a_disk_that_lies_about_what_is_durable_is_caught() {
    let lost_by_child = |seed: u64| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "crash::child_has_a_disk_that_lies",
                "--exact",
                "--nocapture",
            ])
            .env(LIAR_SEED, seed.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let counts = text
            .lines()
            .filter_map(|line| line.split_once("samples lost "));
        counts
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    // One that was aborted has not told of all.
    let seeds = (0..5).map(|round| 1 + 100 * round);
    let mut of_samples = 0;
    for seed in seeds {
        of_samples += lost_by_child(seed);
        if of_samples > 20 {
            return;
        }
    }
    panic!("{of_samples} images of samples that were lost");
}

#[test]
fn an_index_that_follows_in_a_second_transaction_is_caught() {
    for shared_readers in [false, true] {
        let mode = Mode {
            durability: Durability::Immediate,
            shared_readers,
            by: By::One,
        };
        let lost = losses(600, 1, |_| Plan {
            mutant: Some(Mutant::CountsInSecondTransaction),
            ..plan(mode)
        });
        let of_index = lost
            .iter()
            .filter(|lost| matches!(lost.loss, Loss::Index(_)))
            .count();
        assert!(of_index > 20, "{of_index} of {}", lost.len());
    }
}
