//! A year of weather at three airports: a pipeline into a database file or any other storage that has a
//! URL, questions to it, and the same questions from a second process that opens it anew.
//!
//! ```text
//! cargo run --release --example weather                  # in a temporary folder
//! cargo run --release --example weather -- weather.redb  # keeps the file
//! cargo run --release --example weather --features files -- file:weather
//! cargo run --release --example weather --features s3 -- s3://BUCKET/weather
//! cargo run --release --example weather --features azure -- az://CONTAINER/weather?account=ACCOUNT
//! cargo run --release --example weather --features delta -- delta+file:weather
//! cargo run --release --example weather --features postgres -- postgres://HOST/DATABASE
//! cargo run --release --example weather --features kafka -- kafka://HOST:PORT/weather
//! ```
//!
//! A topic of Kafka cannot be asked anything: `consume.rs` brings it into a database file.
//!
//! The input is `examples/data/nyc-weather.csv`: hourly observations of 2013 at Newark (EWR), Kennedy
//! (JFK) and La Guardia (LGA), from the R package `nycflights13`, with gaps written as `NA`. One row
//! becomes one sample, and each airport is a pipeline of its own.

#![allow(clippy::print_stdout)] // an example talks

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use samplestore::{
    BoxError, Flow, Location, Map, Pipeline, Query, RunReport, Sample, Status, Storage, Value,
};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/nyc-weather.csv");
const METRES_PER_SECOND_PER_MPH: f64 = 0.447_04;

fn main() -> Result<ExitCode, BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--reopen", url] => reopen(url),
        [] => {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("weather.redb");
            load_and_ask(
                file.to_str()
                    .ok_or("the temporary folder has no plain name")?,
            )
        }
        [url] if !url.starts_with('-') => load_and_ask(url),
        _ => Err("usage: weather [FILE|URL]".into()),
    }
}

/// The first process: loads, asks, closes, and lets a second process ask again.
fn load_and_ask(url: &str) -> Result<ExitCode, BoxError> {
    let location: Location = url.parse()?;
    println!("Loading {INPUT}\n   into {location}\n");
    let storage: Arc<dyn Storage> = location.connect()?.into();
    let report = load(Arc::clone(&storage))?;
    let stores = report.store_report();
    println!("\n{report}");
    println!(
        "{} new, {} replaced, in {} commits, {} ms\n",
        grouped(stores.inserted),
        grouped(stores.replaced),
        report.batches(),
        report.elapsed().as_millis()
    );

    if !storage.capabilities().query {
        storage.close()?;
        println!("It is closed. It takes samples and cannot be asked for them.");
        return Ok(ExitCode::SUCCESS);
    }
    let answers = ask(&*storage)?;
    print!("{answers}");
    storage.close()?;
    if !storage.capabilities().durable {
        println!("\nIt is closed, and the samples are gone with it.");
        return Ok(ExitCode::SUCCESS);
    }

    println!("\nIt is closed. A second process opens it and asks the same:\n");
    let second = Command::new(std::env::current_exe()?)
        .arg("--reopen")
        .arg(url)
        .output()?;
    let other = String::from_utf8_lossy(&second.stdout);
    if second.status.success() && other == answers {
        let lines = other.lines().count();
        println!("All {lines} lines of its answers are equal to those above.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Its answers are not equal to those above:\n\n{other}");
    println!("{}", String::from_utf8_lossy(&second.stderr));
    Ok(ExitCode::FAILURE)
}

/// The second process: opens what is there and asks.
fn reopen(url: &str) -> Result<ExitCode, BoxError> {
    let storage = url.parse::<Location>()?.create(false).connect()?;
    print!("{}", ask(&*storage)?);
    storage.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the pipeline: rows → parse → judge → two measurements → storage.
pub(crate) fn load(storage: impl Storage + 'static) -> Result<RunReport, BoxError> {
    let report = Pipeline::builder("nyc weather 2013")
        .source_with(rows)
        .stage("parse", parse)
        .stage("judge", judge)
        .measurement("dew_point_spread_f", |sample| {
            Ok(reading(sample, "temp")?
                .zip(reading(sample, "dewp")?)
                .map(|(temp, dew_point)| temp - dew_point))
        })
        .measurement("wind_mps", |sample| {
            let mph = reading(sample, "wind_speed")?;
            Ok(mph.map(|mph| mph * METRES_PER_SECOND_PER_MPH))
        })
        .storage(storage)
        .background(true)
        .keep_open(true)
        .progress(10_000, |progress| {
            println!(
                "{:>8} rows processed, {} stored",
                grouped(progress.processed),
                grouped(progress.stored)
            );
        })
        .build()?
        .run()?;
    Ok(report.into_result()?)
}

/// The rows as they are, each a sample named by its line, so that one that cannot be parsed is found
/// again.
fn rows() -> Result<impl Iterator<Item = Result<Sample, BoxError>>, csv::Error> {
    let rows = csv::Reader::from_path(INPUT)?.into_deserialize::<BTreeMap<String, String>>();
    Ok(rows.zip(2..).map(|(row, line)| {
        let sample = Sample::builder("rows").id(format!("nyc-weather.csv:{line}"));
        Ok(sample.data(row?).build()?)
    }))
}

/// Makes a row the observation of an airport and an hour: numbers as numbers, gaps left out.
#[allow(clippy::needless_pass_by_value)] // a stage takes its sample
fn parse(row: Sample) -> Result<Flow, BoxError> {
    let mut columns: BTreeMap<String, String> = row.data_as()?;
    let mut take = |name: &str| columns.remove(name).ok_or(format!("no column {name}"));
    let (origin, time_hour) = (take("origin")?, take("time_hour")?);
    let mut data = Map::new();
    for (name, text) in columns {
        if text != "NA" {
            let value = number(&text).map_err(|cause| format!("{name} is {text:?}: {cause}"))?;
            data.insert(name, value);
        }
    }
    let sample = Sample::builder(&origin)
        .id(format!("{origin}-{time_hour}"))
        .created_at(time_hour.parse()?)
        .data(data)
        .build()?;
    Ok(sample.into())
}

fn number(text: &str) -> Result<Value, std::num::ParseFloatError> {
    match text.parse::<i64>() {
        Ok(whole) => Ok(whole.into()),
        Err(_) => text.parse::<f64>().map(Value::from),
    }
}

/// Leaves out what has no temperature; what has all of the main readings is ready for use.
fn judge(sample: Sample) -> Result<Flow, BoxError> {
    if reading(&sample, "temp")?.is_none() {
        return Ok(Flow::skip("temp is missing"));
    }
    let humid = reading(&sample, "humid")?;
    let status = match humid.and(reading(&sample, "pressure")?) {
        Some(_) => Status::Ready,
        None => Status::Measured,
    };
    Ok(sample.with_status(status).into())
}

fn reading(sample: &Sample, name: &str) -> Result<Option<f64>, BoxError> {
    Ok(sample.data().get_as(name)?)
}

/// Asks a storage of any kind, and puts the answers into words.
pub(crate) fn ask(storage: &dyn Storage) -> Result<String, BoxError> {
    let facets = storage.facets(&Query::new())?;
    let mut lines = vec![format!("{} samples", grouped(facets.total()))];
    for (pipeline, count) in facets.by_pipeline() {
        lines.push(format!("  {pipeline:<9}{:>7}", grouped(count)));
    }
    for (status, count) in facets.by_status() {
        lines.push(format!("  {status:<9}{:>7}", grouped(count)));
    }

    let june = Query::new()
        .pipeline("JFK")
        .status(Status::Ready)
        .since("2013-06-01T00:00:00Z".parse()?)
        .before("2013-07-01T00:00:00Z".parse()?);
    let count = storage.count(&june)?;
    lines.push(format!(
        "\nReady at JFK in June 2013: {count}; the newest three"
    ));
    for sample in storage.list(&june.newest_first().limit(3))?.samples {
        let shown = |value: Option<f64>, unit| match value {
            Some(value) => format!("{value:.1} {unit}"),
            None => format!("- {unit}"),
        };
        lines.push(format!(
            "  {}   temp {}, dew-point spread {}, wind {}",
            sample.id(),
            shown(reading(&sample, "temp")?, "°F"),
            shown(sample.measurements().get_as("dew_point_spread_f")?, "°F"),
            shown(sample.measurements().get_as("wind_mps")?, "m/s"),
        ));
    }

    lines.push("\nSkipped".to_owned());
    for sample in storage.iterate(&Query::new().status(Status::Skipped))? {
        let sample = sample?;
        let reason = sample.reason().ok_or("a skipped sample has a reason")?;
        lines.push(format!(
            "  {}   by stage {}: {}",
            sample.id(),
            reason.stage(),
            reason.message()
        ));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// A count with commas between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
