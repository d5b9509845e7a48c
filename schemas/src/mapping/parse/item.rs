//! A node with its place, and what can be asked of it: each question notes its own fault, so that
//! readers say what they expect and nothing else.

use super::yaml::{Node, Value};
use crate::mapping::{
    fault::{At, Faults, Spotted, nearest},
    raw::Given,
};
use std::rc::Rc;

/// A node with its place.
#[derive(Debug, Clone)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    place: Rc<str>,
}

impl<'n> Item<'n> {
    /// The whole file.
    pub(super) fn root(node: &'n Node) -> Self {
        Self {
            node,
            place: "".into(),
        }
    }

    pub(super) fn at(&self) -> At {
        At {
            line: self.node.line,
            column: self.node.column,
            place: Rc::clone(&self.place),
        }
    }

    fn spotted<T>(&self, value: T) -> Spotted<T> {
        Spotted {
            value,
            at: self.at(),
        }
    }

    /// Notes that this is not what it should be.
    pub(super) fn wrong(&self, expected: &str, faults: &mut Faults) {
        let is = match &self.node.value {
            Value::Scalar { text, .. } if text.is_empty() => "there is nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}` stands"),
            Value::List(_) => "a list stands".to_owned(),
            Value::Map(_) => "a block of keys stands".to_owned(),
        };
        faults.add(&self.at(), format!("{is} where {expected} should be"));
    }

    /// The text of a scalar that is not null.
    pub(super) fn text(&self, expected: &str, faults: &mut Faults) -> Option<Spotted<String>> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => Some(self.spotted(text.clone())),
            _ => {
                self.wrong(expected, faults);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, faults: &mut Faults) -> Option<Spotted<bool>> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(self.spotted(true)),
            Value::Scalar { text, plain: true } if text == "false" => Some(self.spotted(false)),
            _ => {
                self.wrong("`true` or `false`", faults);
                None
            }
        }
    }

    /// One of these words. The word `null` may stand with or without quotes.
    pub(super) fn word<T: Copy>(
        &self,
        words: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<Spotted<T>> {
        let list = words
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let Value::Scalar { text, .. } = &self.node.value else {
            self.wrong(&format!("one of {list}"), faults);
            return None;
        };
        let word = if self.node.is_null() && !text.is_empty() {
            "null"
        } else {
            text
        };
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return Some(self.spotted(*value));
        }
        if text.is_empty() {
            self.wrong(&format!("one of {list}"), faults);
        } else {
            let near = nearest(word, words.iter().map(|(word, _)| *word));
            faults.suggest(
                &self.at(),
                format!("unknown word `{word}`: known are {list}"),
                near,
            );
        }
        None
    }

    /// The items of a list.
    pub(super) fn list(&self, expected: &str, faults: &mut Faults) -> Option<Vec<Item<'n>>> {
        let Value::List(items) = &self.node.value else {
            self.wrong(expected, faults);
            return None;
        };
        let items = items.iter().enumerate();
        Some(
            items
                .map(|(index, node)| Item {
                    node,
                    place: format!("{}[{index}]", self.place).into(),
                })
                .collect(),
        )
    }

    /// The keys and values of a block; of a key that stands twice, the first.
    pub(super) fn entries(
        &self,
        expected: &str,
        faults: &mut Faults,
    ) -> Option<Vec<(Spotted<String>, Item<'n>)>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong(expected, faults);
            return None;
        };
        let mut seen: Vec<(Spotted<String>, Item<'n>)> = Vec::new();
        for (key, node) in entries {
            let here = Item {
                node: key,
                place: Rc::clone(&self.place),
            };
            let Value::Scalar { text, plain } = &key.value else {
                here.wrong("a key", faults);
                continue;
            };
            let place: Rc<str> = if self.place.is_empty() {
                text.as_str().into()
            } else {
                format!("{}.{text}", self.place).into()
            };
            let key = Spotted {
                value: text.clone(),
                at: At {
                    place: Rc::clone(&place),
                    ..here.at()
                },
            };
            if *plain && text == "<<" {
                faults.add(
                    &key.at,
                    "merging with `<<` is not supported: write the keys out, or use an alias for a whole value",
                );
            } else if let Some((first, _)) = seen.iter().find(|(other, _)| other.value == *text) {
                faults.add(
                    &key.at,
                    format!("`{text}` stands twice, first in line {}", first.at.line),
                );
            } else {
                seen.push((key, Item { node, place }));
            }
        }
        Some(seen)
    }

    /// The block as fields with fixed names.
    pub(super) fn fields(&self, expected: &str, faults: &mut Faults) -> Option<Fields<'n>> {
        let entries = self.entries(expected, faults)?;
        Some(Fields {
            entries: entries.into_iter().map(Some).collect(),
            known: Vec::new(),
        })
    }
}

/// A block's fields, taken one by one; what nobody takes is unknown.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    entries: Vec<Option<(Spotted<String>, Item<'n>)>>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The value of a field, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Item<'n>> {
        self.known.push(name);
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|e| e.as_ref().is_some_and(|(key, _)| key.value == name))?;
        entry.take().map(|(_, item)| item)
    }

    /// The value of a field, read by `read`.
    pub(super) fn given<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Item<'n>) -> Option<Spotted<T>>,
    ) -> Given<T> {
        match self.take(name) {
            None => Given::Absent,
            Some(item) => read(&item).map_or(Given::Faulty, Given::Value),
        }
    }

    /// Knows names without taking their values.
    pub(super) fn know(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// Leaves out keys whose fault is noted elsewhere.
    pub(super) fn overlook(&mut self, which: impl Fn(&str) -> bool) {
        self.entries
            .retain(|e| e.as_ref().is_none_or(|(key, _)| !which(&key.value)));
    }

    /// Notes what nobody took.
    pub(super) fn finish(self, faults: &mut Faults) {
        for (key, _) in self.entries.into_iter().flatten() {
            let near = nearest(&key.value, self.known.iter().copied());
            let message = match near {
                Some(_) => format!("unknown key `{}`", key.value),
                None => format!(
                    "unknown key `{}`: known are {}",
                    key.value,
                    self.known.join(", ")
                ),
            };
            faults.suggest(&key.at, message, near);
        }
    }
}
