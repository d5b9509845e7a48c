//! Orders: documents of 2 KB with arrays in arrays. Each becomes a row and twelve child rows in three tables:
//! four lines, six parts of lines, two events.
//!
//! An update changes the order's row, one line and one part; the other ten child rows stay as they are.

use crate::{
    population::{Documents, id},
    verify::Table,
};
use bson::{DateTime, Decimal128, Document, RawDocumentBuf, doc};
use leafcutter_harness::{dice::Dice, failure::Result};
use std::fmt::Write as _;

/// Bytes of a document.
const BYTES: usize = 2_000;
/// The parts of each line.
const PARTS: [u32; 4] = [2, 2, 1, 1];
/// What happened to each order.
const EVENTS: [&str; 2] = ["placed", "paid"];
/// 2024-01-01.
const EPOCH_MILLIS: i64 = 1_704_067_200_000;

const MAPPING: &str = "\
version: 1
database: shop

collections:
  orders:
    table: orders
    key: order_id
    indexes: [[customer_id, placed_at]]
    columns:
      order_id: { path: _id, type: text, convert: text }
      number: { type: varchar(40), required: true, unique: true }
      customer_id: { type: bigint, required: true }
      status: { type: varchar(20), required: true }
      currency: { type: varchar(3), required: true }
      total: { type: \"numeric(12,2)\", required: true }
      name: { path: ship_to.name, type: text }
      street: { path: ship_to.street, type: text }
      city: { path: ship_to.city, type: text }
      country: { path: ship_to.country, type: varchar(2) }
      gift: { type: boolean, default: \"false\" }
      placed_at: { type: timestamptz, required: true }
      changed_at: { type: timestamptz, required: true }
    children:
      - table: order_lines
        from: lines
        key: [order_id, line]
        columns:
          order_id: { parent: order_id }
          line: { position: true, type: integer }
          sku: { type: varchar(40), required: true }
          title: { type: text, required: true }
          quantity: { type: integer, required: true }
          price: { type: \"numeric(12,2)\", required: true }
          weight: { type: double precision }
        children:
          - table: order_line_parts
            from: parts
            key: [order_id, line, part]
            columns:
              order_id: { parent: order_id }
              line: { parent: line }
              part: { position: true, type: integer }
              warehouse: { type: varchar(20), required: true }
              lot: { type: varchar(40), required: true }
              quantity: { type: integer, required: true }
      - table: order_events
        from: events
        key: [order_id, event]
        columns:
          order_id: { parent: order_id }
          event: { position: true, type: integer }
          kind: { type: varchar(20), required: true }
          happened_at: { path: at, type: timestamptz, required: true }
          note: { type: text }
";

/// The orders of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// Which data.
    pub seed: u64,
}

/// A line as it is in the document and in its row.
#[derive(Debug)]
struct Line {
    sku: String,
    title: String,
    quantity: i32,
    cents: i32,
    /// Quarters of a kilogram: such fractions read the same on all sides.
    quarters: i32,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    warehouse: &'static str,
    lot: String,
    quantity: i32,
}

/// One order at one revision.
#[derive(Debug)]
struct Order {
    number: u32,
    customer: i64,
    status: &'static str,
    currency: &'static str,
    cents: i32,
    name: &'static str,
    street: String,
    city: &'static str,
    country: &'static str,
    gift: bool,
    placed: i64,
    changed: i64,
    lines: Vec<Line>,
    notes: [String; EVENTS.len()],
}

fn hex(dice: &mut Dice, words: usize) -> String {
    let mut text = String::new();
    for _ in 0..words {
        // Writing to a string cannot fail.
        write!(text, "{:016x}", dice.number()).unwrap_or_default();
    }
    text
}

fn line(dice: &mut Dice, parts: u32) -> Line {
    let part = |dice: &mut Dice| Part {
        warehouse: dice.pick(&["Tampere", "Łódź", "Porto"]),
        lot: hex(dice, 1),
        quantity: 1 + dice.int(9),
    };
    Line {
        sku: hex(dice, 1),
        title: format!(
            "{} {}",
            dice.pick(&["Lamp, blue", "Chair", "Kettle, 1.5 l"]),
            hex(dice, 5)
        ),
        quantity: 1 + dice.int(20),
        cents: 100 + dice.int(100_000),
        quarters: 1 + dice.int(200),
        parts: (0..parts).map(|_| part(dice)).collect(),
    }
}

impl Order {
    fn new(seed: u64, number: u32, revision: u32) -> Self {
        let mut dice = Dice::new(&[seed, u64::from(number)]);
        let placed = EPOCH_MILLIS + i64::from(dice.int(i32::MAX));
        let mut order = Self {
            number,
            customer: 5_000_000_000 + i64::from(dice.int(100_000)),
            status: "new",
            currency: dice.pick(&["EUR", "PLN", "USD"]),
            cents: 0,
            name: dice.pick(&["Zoë García", "佐藤 Kim", "Ada Okafor"]),
            street: format!("Kuja {}", dice.int(10_000)),
            city: dice.pick(&["Oulu", "Kraków", "Évora"]),
            country: dice.pick(&["FI", "PL", "PT"]),
            gift: dice.percent(10),
            placed,
            changed: 0,
            lines: PARTS.map(|parts| line(&mut dice, parts)).into(),
            notes: EVENTS.map(|_| hex(&mut dice, 4)),
        };
        // What an update changes.
        let mut dice = Dice::new(&[seed, u64::from(number), u64::from(revision)]);
        order.status = dice.pick(&["new", "packed", "shipped", "returned"]);
        order.cents = dice.int(1_000_000);
        order.changed = placed + i64::from(revision) + i64::from(dice.int(1_000_000));
        let line = &mut order.lines[0];
        line.quantity = 1 + dice.int(20);
        line.parts[0].quantity = 1 + dice.int(9);
        order
    }

    /// The document, filled up to its size with what nobody maps.
    fn document(&self) -> bson::error::Result<RawDocumentBuf> {
        let lines = self.lines.iter().map(|line| {
            let parts = line.parts.iter().map(|part| {
                doc! { "warehouse": part.warehouse, "lot": &part.lot, "quantity": part.quantity }
            });
            doc! {
                "sku": &line.sku,
                "title": &line.title,
                "quantity": line.quantity,
                "price": decimal(line.cents),
                "weight": f64::from(line.quarters) / 4.0,
                "parts": parts.collect::<Vec<_>>(),
            }
        });
        let events = EVENTS.iter().zip(&self.notes).map(|(kind, note)| {
            doc! { "kind": *kind, "at": DateTime::from_millis(self.placed), "note": note }
        });
        let mut document = doc! {
            "_id": id(self.number),
            "number": format!("O-{:010}", self.number),
            "customer_id": self.customer,
            "status": self.status,
            "currency": self.currency,
            "total": decimal(self.cents),
            "ship_to": {
                "name": self.name, "street": &self.street, "city": self.city, "country": self.country,
            },
            "gift": self.gift,
            "placed_at": DateTime::from_millis(self.placed),
            "changed_at": DateTime::from_millis(self.changed),
            "lines": lines.collect::<Vec<_>>(),
            "events": events.collect::<Vec<_>>(),
            "filler": "",
        };
        let short = RawDocumentBuf::try_from(&document)?.as_bytes().len();
        document.insert("filler", ".".repeat(BYTES.saturating_sub(short)));
        RawDocumentBuf::try_from(&document)
    }

    fn update(&self) -> Document {
        let line = &self.lines[0];
        doc! { "$set": {
            "status": self.status,
            "total": decimal(self.cents),
            "changed_at": DateTime::from_millis(self.changed),
            "lines.0.quantity": line.quantity,
            "lines.0.parts.0.quantity": line.parts[0].quantity,
        } }
    }

    fn rows(&self, see: &mut dyn FnMut(usize, &str)) {
        let key = id(self.number).to_hex();
        let root = format!(
            "{key}|O-{:010}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
            self.number,
            self.customer,
            self.status,
            self.currency,
            money(self.cents),
            self.name,
            self.street,
            self.city,
            self.country,
            self.gift,
            self.placed,
            self.changed,
        );
        see(0, &root);
        for (at, line) in self.lines.iter().enumerate() {
            let (price, weight) = (money(line.cents), f64::from(line.quarters) / 4.0);
            let text = format!(
                "{key}|{at}|{}|{}|{}|{price}|{weight}",
                line.sku, line.title, line.quantity
            );
            see(1, &text);
            for (place, part) in line.parts.iter().enumerate() {
                let text = format!(
                    "{key}|{at}|{place}|{}|{}|{}",
                    part.warehouse, part.lot, part.quantity
                );
                see(2, &text);
            }
        }
        for (at, (kind, note)) in EVENTS.iter().zip(&self.notes).enumerate() {
            see(3, &format!("{key}|{at}|{kind}|{}|{note}", self.placed));
        }
    }
}

/// An amount as text, as `numeric(12,2)` reads.
fn money(cents: i32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn decimal(cents: i32) -> Option<Decimal128> {
    money(cents).parse().ok()
}

impl Documents for Orders {
    fn mapping(&self) -> Result<String> {
        Ok(MAPPING.to_owned())
    }

    fn collection(&self) -> &'static str {
        "orders"
    }

    fn bytes(&self) -> usize {
        BYTES
    }

    fn tables(&self) -> Vec<Table> {
        let millis = |column: &str| format!("(extract(epoch from {column}) * 1000)::bigint");
        let table = |name, columns: &str| Table {
            name,
            row: format!("concat_ws('|', {columns})"),
        };
        let (placed, changed) = (millis("placed_at"), millis("changed_at"));
        let root = "order_id, number, customer_id, status, currency, total, name, street, city, country, gift::text";
        vec![
            table("orders", &format!("{root}, {placed}, {changed}")),
            table(
                "order_lines",
                "order_id, line, sku, title, quantity, price, weight",
            ),
            table(
                "order_line_parts",
                "order_id, line, part, warehouse, lot, quantity",
            ),
            table(
                "order_events",
                &format!("order_id, event, kind, {}, note", millis("happened_at")),
            ),
        ]
    }

    fn document(&self, number: u32, revision: u32) -> bson::error::Result<RawDocumentBuf> {
        Order::new(self.seed, number, revision).document()
    }

    fn update(&self, number: u32, revision: u32) -> Document {
        Order::new(self.seed, number, revision).update()
    }

    fn rows(&self, number: u32, revision: u32, see: &mut dyn FnMut(usize, &str)) {
        Order::new(self.seed, number, revision).rows(see);
    }

    /// The order and one line of each.
    fn disturbance(&self) -> &'static str {
        "update orders set status = 'stale', lc_version = 0; \
         update order_lines set quantity = -1 where line = 0"
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Orders};
    use crate::population::Documents as _;
    use leafcutter_schemas::mapping::parse;

    const ORDERS: Orders = Orders { seed: 1 };

    fn rows(number: u32, revision: u32) -> Vec<(usize, String)> {
        let mut rows = Vec::new();
        ORDERS.rows(number, revision, &mut |table, row| {
            rows.push((table, row.to_owned()));
        });
        rows
    }

    #[test]
    fn the_mapping_makes_the_tables_that_are_added_up() {
        let mapping = parse::load(&ORDERS.mapping().unwrap(), "mapping").unwrap();
        let made: Vec<_> = mapping
            .tables()
            .map(|(_, table)| &table.name.name)
            .collect();
        let mut added: Vec<_> = ORDERS.tables().iter().map(|table| table.name).collect();
        added.retain(|name| made.iter().any(|made| made == name));
        assert_eq!(added.len(), 4, "{made:?}");
    }

    #[test]
    fn every_document_has_its_size_and_is_not_mostly_filler() {
        for number in 0..2_000 {
            for revision in [0, 7] {
                let document = ORDERS.document(number, revision).unwrap();
                assert_eq!(document.as_bytes().len(), BYTES, "{number}");
                let filler = document.get_str("filler").unwrap().len();
                assert!((1..BYTES / 5).contains(&filler), "{filler}");
            }
        }
    }

    #[test]
    fn an_order_is_a_row_and_twelve_child_rows_of_which_an_update_changes_two() {
        let (before, after) = (rows(7, 0), rows(7, 1));
        let of = |table| before.iter().filter(|(of, _)| *of == table).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [1, 4, 6, 2]);
        let different: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        assert!(different.iter().any(|((table, _), _)| *table == 0));
        assert!(different.len() <= 3, "{different:?}");
    }
}
