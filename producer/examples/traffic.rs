//! Fills a MongoDB database and writes to it: what the measurements in the README run against.
//!
//! `traffic fill DATABASE COUNT BYTES` · `traffic update DATABASE COUNT` · `traffic drop DATABASE`

use bson::{Bson, Document, doc};
use mongodb::Client;

const COLLECTION: &str = "learners";

fn learner(number: i64, filler: &str) -> Document {
    doc! {
        "_id": bson::oid::ObjectId::new(),
        "number": number,
        "email": format!("learner{number}@example.org"),
        "display_name": format!("Learner {number}"),
        "profile": {
            "native_language": "es", "english_proficiency": "intermediate",
            "country_of_origin": "MX", "has_ssn": number % 2 == 0,
            "financial_goals": ["save", "credit", "home"],
        },
        "gamification": { "daily_goal_minutes": 10, "streak_count": 3, "total_xp": number },
        "created_at": bson::DateTime::from_millis(1_700_000_000_000 + number),
        "notes": filler,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
    let count: i64 = argument(2).parse().unwrap_or(0);
    let client = Client::with_uri_str(std::env::var("LEAFCUTTER_MONGODB_URI")?).await?;
    let database = client.database(argument(1));
    let collection = database.collection::<Document>(COLLECTION);
    match argument(0) {
        "fill" => {
            let bytes: usize = argument(3).parse().unwrap_or(540);
            let filler = "x".repeat(bytes.saturating_sub(360));
            let mut number = 0;
            while number < count {
                let end = (number + (8 << 20) / i64::try_from(bytes)?.max(64)).min(count);
                let batch: Vec<_> = (number..end).map(|n| learner(n, &filler)).collect();
                collection.insert_many(batch).ordered(false).await?;
                number = end;
            }
        }
        "update" => {
            let ids: Vec<Bson> = collection
                .distinct("_id", doc! {})
                .await
                .unwrap_or_default();
            let mut number = 0;
            while number < count {
                let updates: Vec<Document> = ids
                    .iter()
                    .cycle()
                    .skip(usize::try_from(number)?)
                    .take(1000)
                    .map(|id| doc! { "q": { "_id": id }, "u": { "$inc": { "gamification.total_xp": 1 } } })
                    .collect();
                database
                    .run_command(
                        doc! { "update": COLLECTION, "updates": updates, "ordered": false },
                    )
                    .await?;
                number += 1000;
            }
        }
        "drop" => database.drop().await?,
        other => return Err(format!("unknown verb `{other}`").into()),
    }
    Ok(())
}
