//! Things that happen in more than one step, and are hard to carry over.

use super::{Plan, Step, Write};
use crate::{Collection, edge_cases::Fate, generate::email, ledger::Entry};
use bson::{Bson, doc};

/// Steps after which a late parent comes: soon, and long after its child has been given up.
const LATE: [u64; 3] = [5, 150, 2_000];

impl Plan {
    pub(super) fn story(&mut self) -> Step {
        match self.dice.below(12) {
            0 => self.address_changes_hands(),
            1 => self.child_before_parent(Collection::KnowledgeComponents, "kc_id"),
            2 => self.child_before_parent(Collection::LearningItems, "item_id"),
            3 => self.child_before_parent(Collection::Learners, "learner_id"),
            4 => self.family_in_a_transaction(),
            5 => self.comes_and_goes(),
            6 => self.parent_goes(),
            7 => self.family_goes(),
            8 => self.turns_dirty(),
            9 => self.is_healed(),
            10 => self.orphan_finds_parent(),
            _ => self.points_move(),
        }
    }

    fn record(&mut self, collection: Collection, id: Bson, what: &'static str, fate: Fate) {
        self.ledger.record(Entry {
            collection,
            id,
            what,
            fate,
            partner: None,
        });
    }

    fn learner_id(&self, n: u32) -> Bson {
        self.finlit.id(Collection::Learners, n)
    }

    /// A gets a new address, then B gets A's old one.
    fn address_changes_hands(&mut self) -> Step {
        let a = self.finlit.plain(Collection::Learners, &mut self.dice);
        let b = self.finlit.plain(Collection::Learners, &mut self.dice);
        if a == b {
            return self.points_move();
        }
        let old = self.emails.get(&a).cloned().unwrap_or_else(|| email(a));
        let new = format!("moved{}@finlit.example", self.steps);
        let set = |plan: &Self, n, address: &str| {
            let change = doc! { "$set": { "email": address } };
            Write::update(Collection::Learners, plan.learner_id(n), change)
        };
        let (first, second) = (set(self, a, &new), set(self, b, &old));
        self.emails.insert(a, new);
        self.emails.insert(b, old);
        if self.dice.percent(30) {
            return Step {
                what: "hand an address over in a transaction",
                writes: vec![first, second],
            };
        }
        // Now, or another step could hand the same address on.
        self.promise(
            0,
            Step {
                what: "hand an address over",
                writes: vec![second],
            },
        );
        Step {
            what: "give an address up",
            writes: vec![first],
        }
    }

    /// An answer comes long before what it points to.
    fn child_before_parent(&mut self, parents: Collection, column: &'static str) -> Step {
        let n = self.number(Collection::Interactions);
        let parent = self.number(parents);
        let mut document = self.finlit.document(Collection::Interactions, n, 1);
        self.finlit.moor(Collection::Interactions, n, &mut document);
        document.insert(column, self.finlit.id(parents, parent));
        let (what, fate) = match parents {
            Collection::LearningItems => (
                "its item came later",
                Fate::Placed(&[("item_id is null", Some("false"))]),
            ),
            Collection::Learners => ("its learner came later", Fate::Placed(&[])),
            _ => (
                "its component came later",
                Fate::Placed(&[("kc_id is null", Some("false"))]),
            ),
        };
        self.record(
            Collection::Interactions,
            self.finlit.id(Collection::Interactions, n),
            what,
            fate,
        );
        let late = self.document(parents, parent);
        let after = self.dice.pick(&LATE);
        self.promise(
            after,
            Step {
                what: "a parent comes late",
                writes: vec![Write::Insert(parents, late)],
            },
        );
        Step {
            what: "a child comes first",
            writes: vec![Write::Insert(Collection::Interactions, document)],
        }
    }

    /// A learner with all that belongs to one, the children first.
    fn family_in_a_transaction(&mut self) -> Step {
        let learner = self.number(Collection::Learners);
        let id = self.learner_id(learner);
        let mut writes = Vec::new();
        for collection in [
            Collection::DailyProgress,
            Collection::LearnerSkillStates,
            Collection::Interactions,
        ] {
            let n = self.number(collection);
            let mut document = self.finlit.document(collection, n, 1);
            self.finlit.moor(collection, n, &mut document);
            document.insert("learner_id", id.clone());
            let own = self.finlit.id(collection, n);
            self.record(
                collection,
                own,
                "a family in one transaction",
                Fate::Placed(&[]),
            );
            writes.push(Write::Insert(collection, document));
        }
        writes.push(Write::Insert(
            Collection::Learners,
            self.document(Collection::Learners, learner),
        ));
        self.record(
            Collection::Learners,
            id,
            "a family in one transaction",
            Fate::Placed(&[]),
        );
        Step {
            what: "insert a family in a transaction",
            writes,
        }
    }

    /// Inserted, changed and deleted before anybody could see it.
    fn comes_and_goes(&mut self) -> Step {
        let n = self.number(Collection::Interactions);
        let id = self.finlit.id(Collection::Interactions, n);
        let document = self.document(Collection::Interactions, n);
        let change = doc! { "$set": { "score": 1 } };
        let writes = vec![
            Write::Insert(Collection::Interactions, document),
            Write::update(Collection::Interactions, id.clone(), change),
            Write::Delete(Collection::Interactions, id.clone()),
        ];
        self.record(
            Collection::Interactions,
            id,
            "inserted and deleted in one transaction",
            Fate::Gone,
        );
        Step {
            what: "insert and delete in a transaction",
            writes,
        }
    }

    /// A parent that documents still point to is deleted; every other time it comes back.
    fn parent_goes(&mut self) -> Step {
        let parents = self
            .dice
            .pick(&[Collection::Learners, Collection::LearningItems]);
        let Some(n) = self.expendable(parents) else {
            return self.points_move();
        };
        let id = self.finlit.id(parents, n);
        if self.dice.percent(50) {
            let back = Write::Insert(parents, self.document(parents, n));
            let after = self.dice.pick(&LATE);
            self.promise(
                after,
                Step {
                    what: "a parent comes back",
                    writes: vec![back],
                },
            );
            self.record(
                parents,
                id.clone(),
                "deleted, and back again",
                Fate::Placed(&[]),
            );
        } else {
            self.record(
                parents,
                id.clone(),
                "deleted while others point to it",
                Fate::Gone,
            );
        }
        Step {
            what: "delete a parent",
            writes: vec![Write::Delete(parents, id)],
        }
    }

    /// A learner goes with everything that points to it, in one transaction.
    fn family_goes(&mut self) -> Step {
        let Some(n) = self.expendable(Collection::Learners) else {
            return self.points_move();
        };
        let id = self.learner_id(n);
        let mut writes: Vec<_> = [
            Collection::DailyProgress,
            Collection::LearnerAchievements,
            Collection::Interactions,
            Collection::LearnerSkillStates,
        ]
        .map(|collection| Write::DeleteAll(collection, doc! { "learner_id": id.clone() }))
        .into();
        writes.push(Write::Delete(Collection::Learners, id.clone()));
        self.record(
            Collection::Learners,
            id,
            "deleted with all that points to it",
            Fate::Gone,
        );
        Step {
            what: "delete a family in a transaction",
            writes,
        }
    }

    /// A good document becomes one that cannot be placed.
    fn turns_dirty(&mut self) -> Step {
        let Some(n) = self.expendable(Collection::Learners) else {
            return self.points_move();
        };
        let id = self.learner_id(n);
        let fate = Fate::Refused("wrong-type", "learners", "has_ssn");
        self.record(Collection::Learners, id.clone(), "good, then corrupt", fate);
        let change = doc! { "$set": { "profile": { "has_ssn": "yes" } } };
        Step {
            what: "corrupt a document",
            writes: vec![Write::update(Collection::Learners, id, change)],
        }
    }

    /// A document that could not be placed becomes one that can.
    fn is_healed(&mut self) -> Step {
        let collection = self.dice.pick(&[
            Collection::Learners,
            Collection::LearningItems,
            Collection::Interactions,
        ]);
        let Some(n) = self.edge_case_with(collection, |fate| matches!(fate, Fate::Refused(..)))
        else {
            return self.points_move();
        };
        let mut document = self.finlit.document(collection, n, 1);
        self.finlit.moor(collection, n, &mut document);
        self.record(
            collection,
            self.finlit.id(collection, n),
            "corrupt, then mended",
            Fate::Placed(&[]),
        );
        Step {
            what: "heal a document",
            writes: vec![Write::Replace(collection, document)],
        }
    }

    /// The parent that nobody knew is inserted after all.
    fn orphan_finds_parent(&mut self) -> Step {
        let (collection, parents, column) = self.dice.pick(&[
            (
                Collection::LearnerSkillStates,
                Collection::Learners,
                "learner_id",
            ),
            (
                Collection::Interactions,
                Collection::KnowledgeComponents,
                "kc_id",
            ),
            (
                Collection::ItemKcMappings,
                Collection::LearningItems,
                "item_id",
            ),
        ]);
        let found = self.edge_case_with(collection, |fate| fate == Fate::Orphan(column));
        let Some(n) = found else {
            return self.points_move();
        };
        let original = self.finlit.document(collection, n, 0);
        // One kind of orphan points to a text, which no document of ours has as its `_id`.
        let Ok(id) = original.get_object_id(column) else {
            return self.points_move();
        };
        let nobody = self.finlit.nobody(collection, n);
        let parent = self.document(parents, nobody);
        if parent.get_object_id("_id").ok() != Some(id) {
            return self.points_move();
        }
        let own = self.finlit.id(collection, n);
        self.record(
            collection,
            own,
            "an orphan whose parent came",
            Fate::Placed(&[]),
        );
        Step {
            what: "insert an orphan's parent",
            writes: vec![Write::Insert(parents, parent)],
        }
    }

    /// Two learners' points, in one transaction.
    fn points_move(&mut self) -> Step {
        let a = self.finlit.plain(Collection::Learners, &mut self.dice);
        let b = self.finlit.plain(Collection::Learners, &mut self.dice);
        let give = |plan: &Self, n, points: i32| {
            let change = doc! { "$inc": { "gamification.total_xp": points } };
            Write::update(Collection::Learners, plan.learner_id(n), change)
        };
        Step {
            what: "move points in a transaction",
            writes: vec![give(self, a, 5), give(self, b, -5)],
        }
    }

    /// A parent that may go and has had no story yet.
    fn expendable(&mut self, parents: Collection) -> Option<u32> {
        let (finlit, told) = (self.finlit, &self.told);
        let start = self.dice.below_u32(finlit.count(parents));
        let n = (start..finlit.count(parents))
            .find(|&n| finlit.is_expendable(parents, n) && !told.contains(&(parents, n)))?;
        self.told.insert((parents, n));
        Some(n)
    }

    /// A corrupt document with such a fate that has had no story yet.
    fn edge_case_with(
        &mut self,
        collection: Collection,
        fate: impl Fn(Fate) -> bool,
    ) -> Option<u32> {
        let (finlit, told) = (self.finlit, &self.told);
        let start = self.dice.below_u32(finlit.count(collection));
        let n = (start..finlit.count(collection)).find(|&n| {
            finlit
                .edge_case(collection, n)
                .is_some_and(|edge_case| fate(edge_case.fate))
                && !told.contains(&(collection, n))
        })?;
        self.told.insert((collection, n));
        Some(n)
    }
}
