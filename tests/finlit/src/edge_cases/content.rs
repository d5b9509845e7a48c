//! Edge cases of knowledge components, items and what ties them.

use super::{EdgeCase, Fate, date, edge_case, set};
use crate::{
    Collection, FinLit,
    generate::{decimal, medium, slug},
};
use bson::{Bson, Document, doc};

const K: &str = "knowledge_components";

pub(super) const KNOWLEDGE_COMPONENTS: &[EdgeCase] = &[
    EdgeCase {
        what: "a slug used twice",
        corrupt: |_, n, d| set(d, "slug", slug(n + 1)),
        corrupt_partner: |_, _, d| {
            d.remove("parent_kc_id");
        },
        fate: Fate::OneOfTwo,
    },
    EdgeCase {
        what: "two that are each other's parent",
        corrupt: |f, n, d| {
            set(
                d,
                "parent_kc_id",
                f.id(Collection::KnowledgeComponents, n + 1),
            );
        },
        corrupt_partner: |f, n, d| {
            set(
                d,
                "parent_kc_id",
                f.id(Collection::KnowledgeComponents, n - 1),
            );
        },
        fate: Fate::Circle,
    },
    edge_case(
        "a parent nobody knows",
        |f, n, d| {
            let own = Collection::KnowledgeComponents;
            f.orphan(own, n, d, own);
        },
        Fate::Orphan("parent_kc_id"),
    ),
    edge_case(
        "its own parent",
        |f, n, d| set(d, "parent_kc_id", f.id(Collection::KnowledgeComponents, n)),
        Fate::Placed(&[("(parent_kc_id = kc_id)", Some("true"))]),
    ),
    edge_case(
        "no name",
        |_, _, d| {
            d.remove("name");
        },
        Fate::Refused("missing", K, "name"),
    ),
    edge_case(
        "NUL in the description",
        |_, _, d| set(d, "description", "a\0b"),
        Fate::Refused("nul", K, "description"),
    ),
    edge_case(
        "difficulty NaN",
        |_, _, d| {
            d.remove("parent_kc_id");
            set(d, "difficulty", f64::NAN);
        },
        Fate::Placed(&[("difficulty", Some("NaN"))]),
    ),
    edge_case(
        "a decimal as difficulty",
        |_, _, d| {
            d.remove("parent_kc_id");
            set(
                d,
                "difficulty",
                decimal("0.1000000000000000055511151231257827"),
            );
        },
        Fate::Placed(&[("difficulty", Some("0.1"))]),
    ),
    edge_case(
        "text as difficulty",
        |_, _, d| set(d, "difficulty", "hard"),
        Fate::Refused("wrong-type", K, "difficulty"),
    ),
];

const I: &str = "learning_items";
const M: &str = "learning_item_media";
const G: &str = "learning_item_tags";

pub(super) const LEARNING_ITEMS: &[EdgeCase] = &[
    edge_case(
        "no title",
        |_, _, d| {
            d.remove("title");
        },
        Fate::Refused("missing", I, "title"),
    ),
    edge_case(
        "title over length",
        |_, _, d| set(d, "title", "t".repeat(256)),
        Fate::Refused("too-long", I, "title"),
    ),
    edge_case(
        "NUL in the content",
        |_, _, d| set(d, "content", doc! { "deep": [ "a\0b" ] }),
        Fate::Refused("nul", I, "content"),
    ),
    edge_case(
        "a text as content",
        |_, _, d| set(d, "content", "just text"),
        Fate::Placed(&[("content", Some("\"just text\""))]),
    ),
    edge_case(
        "numbers of every kind in the content",
        |_, _, d| {
            let odd = doc! {
                "nan": f64::NAN, "inf": f64::INFINITY, "long": i64::MAX, "half": 0.5, "at": date(-1),
            };
            set(d, "content", odd);
        },
        Fate::Placed(&[
            ("content->'nan'->>'$numberDouble'", Some("NaN")),
            ("content->'inf'->>'$numberDouble'", Some("Infinity")),
            ("content->>'long'", Some("9223372036854775807")),
            ("content->>'half'", Some("0.5")),
            ("content->'at'->'$date'->>'$numberLong'", Some("-1")),
        ]),
    ),
    edge_case(
        "discrimination NaN",
        |_, _, d| set(d, "discrimination", f64::NAN),
        Fate::Placed(&[("discrimination", Some("NaN"))]),
    ),
    edge_case(
        "discrimination infinite",
        |_, _, d| set(d, "discrimination", f64::NEG_INFINITY),
        Fate::Placed(&[("discrimination", None)]),
    ),
    edge_case(
        "discrimination that rounds up to too much",
        |_, _, d| set(d, "discrimination", decimal("9999.99995")),
        Fate::Placed(&[("discrimination", None)]),
    ),
    edge_case(
        "discrimination that rounds half away from zero",
        |_, _, d| set(d, "discrimination", -1.00005),
        Fate::Placed(&[("discrimination", Some("-1.0001"))]),
    ),
    edge_case(
        "not said whether active",
        |_, _, d| {
            d.remove("is_active");
        },
        Fate::Placed(&[("is_active", Some("true"))]),
    ),
    edge_case(
        "a medium without address",
        |_, n, d| {
            let mut dice = leafcutter_harness::dice::Dice::new(&[u64::from(n)]);
            let mut broken = medium(n, 1, &mut dice);
            broken.remove("url");
            set(d, "media", vec![medium(n, 0, &mut dice), broken]);
        },
        Fate::Refused("missing", M, "url"),
    ),
    edge_case(
        "a medium of a kind over length",
        |_, n, d| {
            set(
                d,
                "media",
                vec![doc! { "url": n.to_string(), "kind": "k".repeat(21) }],
            );
        },
        Fate::Refused("too-long", M, "kind"),
    ),
    edge_case(
        "the same medium twice",
        |_, _, d| {
            let medium = doc! { "url": "https://media.finlit.example/twin", "position": 1 };
            set(d, "media", vec![medium.clone(), medium]);
        },
        Fate::Placed(&[(
            "(select string_agg(position::text, ',' order by position) from learning_item_media m \
              where m.item_id = t.item_id)",
            Some("0,1"),
        )]),
    ),
    edge_case(
        "a number as tag",
        |_, _, d| set(d, "tags", vec![Bson::from("a"), Bson::from(5)]),
        Fate::Refused("wrong-type", G, "tag"),
    ),
    edge_case(
        "null among the tags",
        |_, _, d| set(d, "tags", vec![Bson::Null]),
        Fate::Refused("missing", G, "tag"),
    ),
    edge_case(
        "tags and media null and empty",
        |_, _, d| {
            set(d, "tags", Bson::Null);
            set(d, "media", Vec::<Bson>::new());
        },
        Fate::Placed(&[(
            "(select count(*) from learning_item_tags g where g.item_id = t.item_id)",
            Some("0"),
        )]),
    ),
    edge_case(
        "one tag, not an array",
        |_, _, d| set(d, "tags", "saving"),
        Fate::Refused("wrong-type", G, ""),
    ),
];

const P: &str = "item_kc_mappings";

pub(super) const ITEM_KC_MAPPINGS: &[EdgeCase] = &[
    EdgeCase {
        what: "a pair mapped twice",
        corrupt: |f, n, d| free_pair(f, n, d),
        corrupt_partner: |f, n, d| free_pair(f, n - 1, d),
        fate: Fate::OneOfTwo,
    },
    edge_case(
        "an item nobody knows",
        |f, n, d| f.orphan(Collection::ItemKcMappings, n, d, Collection::LearningItems),
        Fate::Orphan("item_id"),
    ),
    edge_case(
        "no component",
        |_, _, d| {
            d.remove("kc_id");
        },
        Fate::Refused("missing", P, "kc_id"),
    ),
    edge_case(
        "text as weight",
        |_, _, d| set(d, "weight", "1"),
        Fate::Refused("wrong-type", P, "weight"),
    ),
];

/// A pair of parents that stay, which no clean mapping has: the step to the component is one that
/// only comes up after as many rounds through the items as there are components.
fn free_pair(finlit: &FinLit, n: u32, document: &mut Document) {
    let items = finlit.count(Collection::LearningItems);
    let components = finlit.count(Collection::KnowledgeComponents);
    let stays =
        |collection, n| !finlit.is_reserved(collection, n) && !finlit.is_expendable(collection, n);
    let item = (n..n + items)
        .map(|i| i % items)
        .find(|&i| stays(Collection::LearningItems, i));
    let item = item.unwrap_or(n % items);
    let last = item * 3 + components - 1 - (n + n / items * 13) % (components / 2);
    let component = (0..components / 4)
        .map(|back| (last - back) % components)
        .find(|&k| stays(Collection::KnowledgeComponents, k))
        .unwrap_or(last % components);
    document.insert("item_id", finlit.id(Collection::LearningItems, item));
    document.insert(
        "kc_id",
        finlit.id(Collection::KnowledgeComponents, component),
    );
}
