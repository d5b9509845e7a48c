//! What a document costs on its way to rows: FinLit's learner, 540 bytes of BSON, 19 columns.
//!
//! `cargo bench -p leafcutter-sink --bench plan --profile dev` (the profile of the demo) takes
//! half a minute. The plan is to stay under 3 µs a document.

#![expect(clippy::unwrap_used, reason = "what cannot be set up is not measured")]

use bson::{RawDocumentBuf, doc, oid::ObjectId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leafcutter_schemas::mapping::parse;
use leafcutter_sink::{model::Model, transform::Rows};
use std::hint::black_box;

const MAPPING: &str = include_str!("../../../schemas/examples/finlit/mapping.yaml");

/// A learner with every field.
fn learner() -> RawDocumentBuf {
    let at = bson::DateTime::from_millis(1_736_899_200_000);
    let document = doc! {
        "_id": ObjectId::parse_str("65a1f0c2e13f4b0012345678").unwrap(),
        "email": "learner123456@finlit.example",
        "display_name": "Ngozi Nguyen",
        "profile": {
            "native_language": "Vietnamese",
            "english_proficiency": "intermediate",
            "immigration_status": "green card",
            "country_of_origin": "Việt Nam",
            "visa_type": "H1B",
            "has_ssn": true,
            "sends_remittances": false,
            "financial_goals": ["save"],
        },
        "gamification": {
            "total_xp": 54_321,
            "streak_count": 12,
            "streak_last_date": at,
            "daily_goal_minutes": 15,
        },
        "financial_experience_level": "novice",
        "timezone": "America/New_York",
        "created_at": at,
        "last_active_at": at,
    };
    RawDocumentBuf::try_from(&document).unwrap()
}

fn plan(criterion: &mut Criterion) {
    let model = Model::compile(parse::load(MAPPING, "mapping.yaml").unwrap(), "t").unwrap();
    let plan = &model.collections[0].plan;
    let document = learner();
    let size = document.as_bytes().len();
    assert!((530..=550).contains(&size), "{size} bytes");
    let mut rows = Rows::default();
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(1));
    group.bench_function("learner, 19 columns", |bencher| {
        let mark = rows.mark();
        bencher.iter(|| {
            rows.reset(mark);
            plan.transform(black_box(&document), &mut rows).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
