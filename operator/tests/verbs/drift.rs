//! Fields that no column takes are named.

use crate::live::Live;
use bson::doc;

const MAPPING: &str = "
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: text
      zip: { path: address.zip, type: text }
    children:
      - table: orders
        from: orders
        key: [person_id, n]
        columns:
          person_id: { parent: id }
          n: { position: true, type: integer }
          what: text
";

/// Every document has `_class`; one of a thousand has `nickname`, which is seldom a number.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_few_documents_are_named_with_the_column_that_takes_them() {
    let live = Live::new().await;
    live.map(MAPPING);
    let people = (1..=10_000_i64).map(|id| {
        let mut person = doc! { "_id": id, "name": "n", "_class": "Person" };
        if id % 1_000 == 500 {
            person.insert("nickname", "Ace");
        }
        if id == 7_000 {
            person.insert("nickname", 7);
            person.insert("address", doc! { "zip": "z", "city": "c" });
            person.insert("orders", vec![doc! { "what": "w", "gift": true }]);
        }
        person
    });
    let people = live.collection("people").insert_many(people).await;
    people.unwrap();
    let (producer, consumer) = (live.producer(&[]), live.consumer());
    live.wait_for("select count(*) from people", "10000").await;
    live.wait_for(
        "select string_agg(concat_ws(',', path, types, documents), ' ' order by path) \
         from leafcutter.unmapped_fields",
        "_class,string,10000 address.city,string,1 nickname,int,string,11 orders[].gift,bool,1",
    )
    .await;
    let drift = live.leafcutter(&["drift"]).await.ends_with(1);
    drift
        .says("nickname int, string 11")
        .says("nickname: { path: nickname, type: jsonb }")
        .says("city: { path: address.city, type: text }")
        .says("gift: { path: gift, type: boolean }")
        .says("No column takes 4 fields.");
    let status = live.leafcutter(&["status"]).await;
    status.says("fields without column 4 4 people: leafcutter drift");

    // A mapping that takes some of them.
    let more = "name: text\n      nickname: jsonb\n      c: { path: _class, type: text }";
    live.map(&MAPPING.replace("name: text", more));
    let json = live.leafcutter(&["drift", "people", "--json"]).await;
    let json = json.ends_with(1).json();
    let fields: Vec<_> = json.iter().map(|line| line["field"].clone()).collect();
    assert_eq!(fields, ["address.city", "orders[].gift"]);
    assert_eq!(json[1]["types"][0], "bool");
    live.leafcutter(&["drift", "nobody"]).await.ends_with(2);
    live.leafcutter(&["drift", "--forget"]).await.ends_with(1);
    let nothing = live.leafcutter(&["drift"]).await.ends_with(0);
    nothing.says("Columns take every field that was seen.");
    producer.stop();
    consumer.stop();
    live.end().await;
}
