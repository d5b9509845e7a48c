//! Documents whose bytes no library can read, as old drivers wrote them, are carried like others:
//! the consumer refuses them, and nothing else waits for that.

use bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr, doc, rawdoc};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::id::key_document;

use crate::world::World;

/// A document in which the last letter of each `cafe` is written as Latin-1 has it.
fn latin1(document: &Document) -> RawDocumentBuf {
    let mut bytes = document.to_vec().expect("BSON");
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(4).position(|at| at == b"cafe") {
        bytes[from + at + 3] = 0xe9;
        from += at + 4;
    }
    RawDocumentBuf::from_bytes(bytes).expect("its structure is whole")
}

/// An `_id` that is nested as deep as the server takes it.
fn deep() -> Document {
    (0..90).fold(doc! { "a": "cafe" }, |inner, _| doc! { "d": inner })
}

/// Documents with such bytes in every place; the last is the largest `_id` of all.
fn unreadable() -> Vec<RawDocumentBuf> {
    let all = [
        doc! { "_id": "cafe", "n": 1 },
        doc! { "_id": bson::Bson::Symbol("a cafe".into()), "n": 1 },
        doc! { "_id": { "cafe": 1 }, "n": 1 },
        doc! { "_id": { "a": ["x"], "b": { "c": "cafe" } }, "n": 1 },
        doc! { "_id": deep(), "n": 1 },
        doc! { "_id": "text", "n": 1, "body": "cafe" },
        doc! { "_id": "name", "n": 1, "cafe": { "x": 1 } },
        doc! { "_id": "nested", "n": 1, "list": [{ "a": { "cafe": "cafe" } }] },
        doc! { "_id": "pattern", "n": 1, "re": bson::Regex {
        pattern: "cafe".try_into().unwrap(), options: "i".try_into().unwrap() } },
        doc! { "_id": bson::Bson::JavaScriptCode("cafe".into()), "n": 1 },
    ];
    all.iter().map(latin1).collect()
}

impl World {
    async fn command(&self, command: RawDocumentBuf) {
        let done = self.database.run_raw_command(command).await;
        let done = done.expect("the command is understood");
        assert!(done.get_array("writeErrors").is_err(), "{done}");
    }

    async fn insert_raw(&self, collection: &str, documents: &[RawDocumentBuf]) {
        let mut array = RawArrayBuf::new();
        for document in documents {
            array.push(document.as_ref());
        }
        self.command(rawdoc! { "insert": collection, "documents": array })
            .await;
    }

    async fn update_raw(&self, collection: &str, document: &RawDocument) {
        let id = key_document(document).expect("an _id");
        let update = rawdoc! { "q": id, "u": { "$inc": { "n": 1 } } };
        self.command(rawdoc! { "update": collection, "updates": [update] })
            .await;
    }

    async fn delete_raw(&self, collection: &str, document: &RawDocument) {
        let id = key_document(document).expect("an _id");
        let delete = rawdoc! { "q": id, "limit": 1 };
        self.command(rawdoc! { "delete": collection, "deletes": [delete] })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cannot_be_read_are_carried_like_others() {
    let mut world = World::new("unreadable", &["a"]).await;
    world.flag("split-bytes", "600");
    let before = unreadable();
    world.insert_raw("a", &before).await;
    let many = (0..300).map(|n| doc! { "_id": format!("ok {n}"), "n": n });
    world.insert("a", many).await;
    let producer = world.start("run");
    let complete = world.until_complete("a").await;
    assert_eq!(complete.documents, 310);
    // The same while it follows; each is changed, some go, and others come.
    for document in &before {
        world.update_raw("a", document).await;
    }
    for document in &before[..4] {
        world.delete_raw("a", document).await;
    }
    let later: Vec<RawDocumentBuf> = unreadable()
        .iter()
        .map(|document| {
            let mut later = RawDocumentBuf::new();
            let id = key_document(document).expect("an _id");
            later.append(cstr!("_id"), rawdoc! { "later": 1, "key": id });
            later.append(cstr!("n"), 1);
            later
        })
        .collect();
    world.insert_raw("a", &later).await;
    world.until_caught_up().await;
    assert!(!producer.is_over(), "it goes on");
    world.assert_converged("a").await;
    // Nor does the next start stop at them.
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    let producer = world.start("run");
    world.update_raw("a", &later[0]).await;
    world.until_caught_up().await;
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    world.assert_converged("a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_carry_documents_that_cannot_be_read() {
    let world = World::polled("unreadable_poll", &["a"], "at").await;
    let dated = |id: &str| {
        let at = bson::DateTime::now();
        latin1(&doc! { "_id": id, "at": at, "cafe": "cafe" })
    };
    world
        .insert_raw("a", &[dated("cafe 1"), dated("one")])
        .await;
    let producer = world.start("run");
    world.until_complete("a").await;
    world
        .insert_raw("a", &[dated("cafe 2"), dated("two")])
        .await;
    world.until_polled().await;
    assert!(!producer.is_over(), "it goes on");
    let keys: std::collections::BTreeSet<_> =
        world.records("a").into_iter().map(|r| r.key).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    world.end().await;
}
