// The README's code, word for word: ../readme.rs compares it.

use samplestore::{Database, Query, Sample, Status, Storage};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Weather { station: String, temp: f64 }

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = Database::open("samples.redb")?;
    let weather = Weather { station: "JFK".into(), temp: 71.6 };
    database.store(&[Sample::builder("weather").status(Status::Ready).data(&weather).build()?])?;

    let june = Query::new().status(Status::Ready).since("2013-06-01T00:00:00Z".parse()?);
    println!("{} ready since June", database.count(&june)?);
    for sample in database.iterate(&june.newest_first().limit(10))? {
        println!("{}", sample?.data_as::<Weather>()?.temp);
    }
    Ok(())
}
