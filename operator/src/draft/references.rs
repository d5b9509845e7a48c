//! Which fields refer to other collections: by asking MongoDB for some of their values among its `_id`s.
//!
//! ObjectIds, also as text, and UUIDs are looked for everywhere: half of them found is no chance. Numbers
//! and words are found by chance in many places, so they also need a name: `student_id` of `students`.

use super::{
    infer::{ELEMENTS, Found},
    kind::Kind,
    profile::{Node, Profile},
    source::Source,
    types::{self, Type},
};
use bson::{Bson, oid::ObjectId};
use leafcutter_runtime::report::Failure;

/// A collection with its profile.
#[derive(Debug)]
pub struct Profiled {
    /// Its name.
    pub name: String,
    /// What was seen of it.
    pub profile: Profile,
}

/// Look-ups for one collection at most, so that hundreds of fields times hundreds of collections end.
const LOOK_UPS_MAX: usize = 2_000;

/// The references of each collection.
///
/// # Errors
/// When MongoDB cannot be asked.
pub async fn find(source: &Source, all: &[Profiled]) -> Result<Vec<Vec<Found>>, Failure> {
    let keys: Vec<Type> = all.iter().map(|one| types::key(id(&one.profile))).collect();
    let mut references = Vec::with_capacity(all.len());
    for one in all {
        let mut fields = Vec::new();
        walk(&one.profile.root, &mut Vec::new(), &mut fields);
        let mut found = Vec::new();
        let mut look_ups = 0;
        for (path, node) in fields {
            let candidates = candidates(&path, node, all, &keys);
            for candidate in candidates {
                if look_ups == LOOK_UPS_MAX {
                    break;
                }
                look_ups += 1;
                let (asked, total) = asked(node);
                let known = source.known(&all[candidate.to].name, asked).await?;
                // In percent: an ObjectId is no other collection's by chance, a number often is.
                let enough = if candidate.by_name { 90 } else { 50 };
                if total > 0 && known.len() * 100 >= total * enough {
                    found.push(Found {
                        path,
                        to: candidate.to,
                        typed: candidate.typed,
                    });
                    break;
                }
            }
        }
        references.push(found);
    }
    Ok(references)
}

fn id(profile: &Profile) -> &Node {
    let id = profile.root.fields.by_name.get("_id");
    id.unwrap_or(&profile.root)
}

/// Every field of a scalar type, with its path.
fn walk<'n>(node: &'n Node, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, &'n Node)>) {
    let leaf = node
        .types()
        .iter()
        .any(|kind| matches!(kind, Kind::ObjectId | Kind::Text | Kind::Binary) || kind.is_number());
    if leaf && !path.is_empty() && path.first().is_none_or(|first| first != "_id") {
        out.push((path.clone(), node));
    }
    for name in &node.fields.order {
        if let Some(below) = node.fields.by_name.get(name) {
            path.push(name.clone());
            walk(below, path, out);
            path.pop();
        }
    }
    if let Some(elements) = &node.elements {
        path.push(ELEMENTS.to_owned());
        walk(elements, path, out);
        path.pop();
    }
}

struct Candidate {
    to: usize,
    typed: Type,
    /// Only its name makes it one.
    by_name: bool,
}

/// The collections that a field may point to, those of its name first.
fn candidates(path: &[String], node: &Node, all: &[Profiled], keys: &[Type]) -> Vec<Candidate> {
    let last = path.iter().rev().find(|step| *step != ELEMENTS);
    let last = last.map_or("", String::as_str);
    let texts = node.count(Kind::Text);
    let unmistakable = node.types().iter().all(|kind| match kind {
        Kind::ObjectId | Kind::Binary => true,
        Kind::Text => node.texts.object_ids == texts || node.texts.uuids == texts,
        _ => false,
    });
    let mut candidates = Vec::new();
    for (to, (one, key)) in all.iter().zip(keys).enumerate() {
        let named = agrees(last, &one.name);
        let Some(typed) = types::referring(node, key) else {
            continue;
        };
        if named || unmistakable {
            let by_name = !unmistakable;
            let candidate = Candidate { to, typed, by_name };
            candidates.push((!named, candidate));
        }
    }
    candidates.sort_by_key(|(unnamed, _)| *unnamed);
    candidates
        .into_iter()
        .map(|(_, candidate)| candidate)
        .collect()
}

/// What MongoDB is asked for, and how many different values that is.
fn asked(node: &Node) -> (Vec<Bson>, usize) {
    let mut asked: Vec<Bson> = node.samples.values().cloned().collect();
    let total = asked.len();
    let ids: Vec<Bson> = asked.iter().filter_map(as_object_id).collect();
    asked.extend(ids);
    (asked, total)
}

fn as_object_id(value: &Bson) -> Option<Bson> {
    let text = value.as_str().filter(|text| text.len() == 24)?;
    ObjectId::parse_str(text).ok().map(Bson::ObjectId)
}

/// Whether a field's name is that of a collection: `student_id`, `studentIds`, `student` of `students`.
fn agrees(field: &str, collection: &str) -> bool {
    let plain = |text: &str| -> String {
        let text = text.chars().filter(|c| c.is_alphanumeric());
        text.flat_map(char::to_lowercase).collect()
    };
    let field = plain(field);
    let stem = field.strip_suffix("ids").or(field.strip_suffix("id"));
    let stem = stem.unwrap_or(&field);
    !stem.is_empty() && singular(stem) == singular(&plain(collection))
}

fn singular(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let hissing = ["sses", "xes", "ches", "shes"];
    if hissing.iter().any(|end| name.ends_with(end)) {
        return name.strip_suffix("es").unwrap_or(name).to_owned();
    }
    let plural = name.strip_suffix('s').filter(|stem| !stem.ends_with('s'));
    plural.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_in_singular_and_plural() {
        for (field, collection) in [
            ("student_id", "students"),
            ("studentIds", "students"),
            ("category", "categories"),
            ("class_id", "classes"),
            ("user", "users"),
            ("users", "users"),
        ] {
            assert!(agrees(field, collection), "{field} {collection}");
        }
        for (field, collection) in [("class_id", "students"), ("id", "students"), ("_id", "s")] {
            assert!(!agrees(field, collection), "{field} {collection}");
        }
    }
}
