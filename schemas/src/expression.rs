//! CEL expressions of the mapping (`expression:`, `where:`): read, and judged by what they name.
//!
//! An expression sees two things: `doc`, the document or a child table's element, and `id`, its
//! `_id`. What it reads of `doc` is known from its text, so that an evaluator need not look at the
//! rest. It cannot loop for ever, but macros within macros multiply: how deep they stand is known
//! as well, so that an evaluator can say beforehand how much it will take in.

use cel::{
    Env, Program,
    common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue},
};
use std::collections::BTreeSet;

/// An expression that was read, and what it names.
#[derive(Debug)]
pub struct Expression {
    /// The program.
    pub program: Program,
    /// It names `id`.
    pub id: bool,
    /// The fields of `doc` that it names; `None` where it uses `doc` as a whole.
    pub fields: Option<BTreeSet<String>>,
    /// How many macros that loop (`map`, `filter`, `all`, `exists`, …) stand within each other.
    pub loops: u32,
}

impl Expression {
    /// Whether it names nothing of the document, so that it always gives the same.
    pub fn is_constant(&self) -> bool {
        !self.id && self.fields.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Whether it names nothing of the document but its `_id`.
    pub fn is_of_id(&self) -> bool {
        let mut fields = self.fields.iter().flatten();
        self.fields.is_some() && fields.all(|field| field == "_id")
    }
}

/// Why a text is no expression, and what was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub message: String,
    /// The word that stands in the way, where it is one.
    pub word: Option<String>,
}

/// Names that stand for types.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "uint",
];
/// The functions there are, beside the operators.
pub const FUNCTIONS: [&str; 29] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "int",
    "matches",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
    "value",
];

/// Reads an expression.
///
/// # Errors
/// Where it is none, or names what there is not.
pub fn read(text: &str) -> Result<Expression, Refused> {
    let program = Env::stdlib().compile(text).map_err(|errors| Refused {
        message: errors.errors.first().map_or_else(
            || "it is no CEL expression".to_owned(),
            |error| format!("it is no CEL expression: {}", in_short(&error.msg)),
        ),
        word: None,
    })?;
    let mut names = Names {
        fields: Some(BTreeSet::new()),
        ..Names::default()
    };
    names.walk(program.expression(), 0)?;
    let Names {
        id, fields, loops, ..
    } = names;
    Ok(Expression {
        program,
        id,
        fields,
        loops,
    })
}

/// The parser tells everything that it would have taken.
fn in_short(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("Syntax error: ").unwrap_or(line);
    line.split_once(" expecting")
        .map_or(line, |(short, _)| short)
}

#[derive(Default)]
struct Names {
    id: bool,
    fields: Option<BTreeSet<String>>,
    loops: u32,
    /// Variables of macros around.
    bound: Vec<String>,
}

impl Names {
    fn is_doc(&self, expression: &IdedExpr) -> bool {
        matches!(&expression.expr, Expr::Ident(name) if name == "doc" && !self.is_bound(name))
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn field(&mut self, name: &str) {
        if let Some(fields) = &mut self.fields {
            fields.insert(name.to_owned());
        }
    }

    fn walk(&mut self, expression: &IdedExpr, depth: u32) -> Result<(), Refused> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) if self.is_doc(&select.operand) => {
                self.field(&select.field);
                Ok(())
            }
            Expr::Select(select) => self.walk(&select.operand, depth),
            Expr::Call(call) => {
                // `doc["a name"]` is what `doc.name` is, and `doc.?name` where it may be missing.
                let picks = ["_[_]", "_[?_]", "_?._"].contains(&call.func_name.as_str());
                if let (true, [of, at]) = (picks, call.args.as_slice())
                    && let Expr::Literal(LiteralValue::String(name)) = &at.expr
                    && self.is_doc(of)
                {
                    self.field(name.inner());
                    return Ok(());
                }
                function(&call.func_name)?;
                let target = call.target.iter().map(AsRef::as_ref);
                self.all(target.chain(&call.args), depth)
            }
            Expr::List(list) => self.all(&list.elements, depth),
            Expr::Map(map) => self.entries(map.entries.iter().map(|e| &e.expr), depth),
            Expr::Struct(of) => Err(Refused {
                message: format!("there is no type `{}` to make", of.type_name),
                word: None,
            }),
            Expr::Comprehension(inner) => {
                self.walk(&inner.iter_range, depth)?;
                self.walk(&inner.accu_init, depth)?;
                let outer = self.bound.len();
                self.bound.push(inner.iter_var.clone());
                self.bound.extend(inner.iter_var2.clone());
                self.bound.push(inner.accu_var.clone());
                self.loops = self.loops.max(depth + 1);
                let parts = [&inner.loop_cond, &inner.loop_step, &inner.result];
                let walked = self.all(parts, depth + 1);
                self.bound.truncate(outer);
                walked
            }
        }
    }

    fn all<'e>(
        &mut self,
        expressions: impl IntoIterator<Item = &'e IdedExpr>,
        depth: u32,
    ) -> Result<(), Refused> {
        expressions
            .into_iter()
            .try_for_each(|expression| self.walk(expression, depth))
    }

    fn entries<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e EntryExpr>,
        depth: u32,
    ) -> Result<(), Refused> {
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => self.walk(&field.value, depth)?,
                EntryExpr::MapEntry(entry) => self.all([&entry.key, &entry.value], depth)?,
            }
        }
        Ok(())
    }

    fn ident(&mut self, name: &str) -> Result<(), Refused> {
        if self.is_bound(name) || TYPES.contains(&name) {
            return Ok(());
        }
        match name {
            "id" => self.id = true,
            "doc" => self.fields = None,
            _ => {
                return Err(Refused {
                    message: format!(
                        "there is no `{name}`: an expression sees `doc`, the document or element, and `id`, its `_id`"
                    ),
                    word: Some(name.to_owned()),
                });
            }
        }
        Ok(())
    }
}

/// Operators have names that are no words.
fn function(name: &str) -> Result<(), Refused> {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !word || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(Refused {
        message: format!("there is no function `{name}`"),
        word: Some(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_expression_names_is_known() {
        for (text, id, fields, loops) in [
            ("1 + 2", false, Some(&[][..]), 0),
            ("doc.a + doc.b.c", false, Some(&["a", "b"]), 0),
            (
                "has(doc.a) ? doc[\"b c\"] : id",
                true,
                Some(&["a", "b c"]),
                0,
            ),
            ("doc.?a.orValue(doc[?\"b\"])", false, Some(&["a", "b"]), 0),
            (
                "doc.l.map(x, x.doc).filter(y, y > 1)",
                false,
                Some(&["l"]),
                1,
            ),
            (
                "doc.l.all(x, doc.m.exists(y, x == y))",
                false,
                Some(&["l", "m"]),
                2,
            ),
            ("size(doc)", false, None, 0),
            ("doc.l.map(doc, doc)", false, Some(&["l"]), 1),
            ("type(doc.a) == int", false, Some(&["a"]), 0),
            ("{\"a\": doc.a, \"b\": [id]}", true, Some(&["a"]), 0),
        ] {
            let read = read(text).unwrap();
            let found = read.fields.as_ref();
            let found: Option<Vec<&str>> = found.map(|f| f.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), fields, "{text}");
            assert_eq!((read.id, read.loops), (id, loops), "{text}");
        }
        assert!(read("id").unwrap().is_of_id());
        assert!(read("string(doc._id)").unwrap().is_of_id());
        assert!(!read("string(doc.a)").unwrap().is_of_id());
        assert!(!read("string(doc)").unwrap().is_of_id());
        assert!(read("[1, 2].exists(id, id == 1)").unwrap().is_constant());
        for text in ["id == '7'", "doc.a", "size(doc) > 1"] {
            assert!(!read(text).unwrap().is_constant(), "{text}");
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for (text, word) in [
            ("dco.a", Some("dco")),
            ("doc.l.map(x, y)", Some("y")),
            ("doc.l.map(x, x) + [x]", Some("x")),
            ("sise(doc.a)", Some("sise")),
            ("doc.a.startWith(\"x\")", Some("startWith")),
            ("doc.a +", None),
            ("", None),
        ] {
            assert_eq!(read(text).unwrap_err().word.as_deref(), word, "{text}");
        }
    }
}
