//! FinLit's tables, as the mapping file has them, said a second time.

use crate::Collection;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `uuid`, made from the `_id`.
    Id,
    /// `uuid`, made from another document's `_id`.
    Reference(Parent),
    /// `varchar(max)` or `text`; `any`: what is no text becomes text.
    Text {
        /// The most characters.
        max: Option<usize>,
        /// `convert: text`.
        any: bool,
    },
    /// `integer`
    Int,
    /// `bigint`
    BigInt,
    /// `double precision`
    Float,
    /// `real`
    Real,
    /// `numeric`, with precision and scale
    Numeric(Option<(u32, u32)>),
    /// `boolean`
    Bool,
    /// `timestamp` and `timestamptz`
    Timestamp,
    /// `date`
    Date,
    /// `bytea`
    Bytes,
    /// `json` and `jsonb`
    Json,
}

/// Where a reference points, and what becomes of it when nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The collection whose row it is.
    pub collection: Collection,
    /// Without the parent the reference is null; else the document is an orphan.
    pub or_null: bool,
}

/// What a missing value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Null.
    Null,
    /// Neither missing nor null is allowed.
    Required,
    /// This, where the field is missing; a null stays null.
    Default(&'static str),
}

/// What a value becomes that the column cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The document is a dead letter.
    Reject,
    /// Null.
    Null,
    /// What is too much is cut off.
    Cut,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Where its value is in the document, or in the element.
    pub path: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What a missing value becomes.
    pub absent: Absent,
    /// What values of another type become.
    pub wrong_type: Then,
    /// What long text becomes.
    pub too_long: Then,
    /// What NUL becomes.
    pub nul: Then,
    /// What numbers and dates beyond the type's range become.
    pub out_of_range: Then,
}

/// A table filled from an array.
#[derive(Debug)]
pub struct ChildTable {
    /// Its name. Its key is the parent's key and the position.
    pub name: &'static str,
    /// The array.
    pub from: &'static str,
    /// Its columns beside the key.
    pub columns: &'static [Column],
}

/// A table with one row per document.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its key is its first column.
    pub columns: &'static [Column],
    /// Further unique keys.
    pub unique: &'static [&'static [&'static str]],
    /// Tables filled from arrays inside.
    pub children: &'static [ChildTable],
}

impl Table {
    /// The name of the key.
    pub fn key(&self) -> &'static str {
        self.columns.first().map_or("", |column| column.name)
    }

    /// The columns that point to other tables.
    pub fn references(&self) -> impl Iterator<Item = (&'static Column, Parent)> {
        self.columns.iter().filter_map(|column| match column.kind {
            Kind::Reference(parent) => Some((column, parent)),
            _ => None,
        })
    }
}

/// The table of a collection.
pub fn table(collection: Collection) -> &'static Table {
    match collection {
        Collection::Learners => &LEARNERS,
        Collection::KnowledgeComponents => &KNOWLEDGE_COMPONENTS,
        Collection::LearningItems => &LEARNING_ITEMS,
        Collection::ItemKcMappings => &ITEM_KC_MAPPINGS,
        Collection::LearnerSkillStates => &LEARNER_SKILL_STATES,
        Collection::Interactions => &INTERACTIONS,
        Collection::Achievements => &ACHIEVEMENTS,
        Collection::LearnerAchievements => &LEARNER_ACHIEVEMENTS,
        Collection::DailyProgress => &DAILY_PROGRESS,
    }
}

/// A column of that type, from the field of its name.
pub const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        path: name,
        kind,
        absent: Absent::Null,
        wrong_type: Then::Reject,
        too_long: Then::Reject,
        nul: Then::Reject,
        out_of_range: Then::Reject,
    }
}

/// `uuid`, made from the `_id`.
pub const fn id(name: &'static str) -> Column {
    column(name, Kind::Id).at("_id")
}

const fn reference(name: &'static str, collection: Collection) -> Column {
    column(
        name,
        Kind::Reference(Parent {
            collection,
            or_null: false,
        }),
    )
}

/// `varchar(max)`
pub const fn varchar(name: &'static str, max: usize) -> Column {
    column(
        name,
        Kind::Text {
            max: Some(max),
            any: false,
        },
    )
}

/// `text`
pub const fn text(name: &'static str) -> Column {
    column(
        name,
        Kind::Text {
            max: None,
            any: false,
        },
    )
}

impl Column {
    /// Its value is there.
    pub const fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }
    /// Neither missing nor null.
    pub const fn required(mut self) -> Self {
        self.absent = Absent::Required;
        self
    }
    /// This, where it is missing.
    pub const fn or(mut self, default: &'static str) -> Self {
        self.absent = Absent::Default(default);
        self
    }
    /// What is out of range becomes that.
    pub const fn out_of_range(mut self, then: Then) -> Self {
        self.out_of_range = then;
        self
    }
    /// What is too long becomes that.
    pub const fn too_long(mut self, then: Then) -> Self {
        self.too_long = then;
        self
    }
    /// What has a NUL becomes that.
    pub const fn nul(mut self, then: Then) -> Self {
        self.nul = then;
        self
    }
    /// What is of the wrong type becomes that.
    pub const fn wrong_type(mut self, then: Then) -> Self {
        self.wrong_type = then;
        self
    }
}

static LEARNERS: Table = Table {
    name: "learners",
    columns: &[
        id("learner_id"),
        varchar("email", 255).required(),
        column(
            "display_name",
            Kind::Text {
                max: Some(255),
                any: true,
            },
        )
        .too_long(Then::Cut)
        .nul(Then::Cut),
        varchar("native_language", 50)
            .at("profile.native_language")
            .too_long(Then::Cut),
        varchar("english_proficiency", 50)
            .at("profile.english_proficiency")
            .or("intermediate"),
        varchar("immigration_status", 50).at("profile.immigration_status"),
        varchar("financial_experience_level", 50).or("novice"),
        column("daily_goal_minutes", Kind::Int)
            .at("gamification.daily_goal_minutes")
            .or("10"),
        varchar("timezone", 50).or("America/New_York"),
        column("streak_count", Kind::Int)
            .at("gamification.streak_count")
            .or("0"),
        column("streak_last_date", Kind::Date)
            .at("gamification.streak_last_date")
            .out_of_range(Then::Null),
        column("total_xp", Kind::Int)
            .at("gamification.total_xp")
            .or("0"),
        varchar("country_of_origin", 100).at("profile.country_of_origin"),
        varchar("visa_type", 50).at("profile.visa_type"),
        column("has_ssn", Kind::Bool).at("profile.has_ssn"),
        column("sends_remittances", Kind::Bool).at("profile.sends_remittances"),
        column("financial_goals", Kind::Json).at("profile.financial_goals"),
        column("created_at", Kind::Timestamp),
        column("last_active_at", Kind::Timestamp).out_of_range(Then::Null),
    ],
    unique: &[&["email"]],
    children: &[],
};

static KNOWLEDGE_COMPONENTS: Table = Table {
    name: "knowledge_components",
    columns: &[
        id("kc_id"),
        varchar("slug", 120).required(),
        varchar("name", 255).required(),
        text("description"),
        varchar("domain", 80),
        column("difficulty", Kind::Float),
        reference("parent_kc_id", Collection::KnowledgeComponents),
        column("created_at", Kind::Timestamp),
    ],
    unique: &[&["slug"]],
    children: &[],
};

static LEARNING_ITEMS: Table = Table {
    name: "learning_items",
    columns: &[
        id("item_id"),
        varchar("title", 255).required(),
        varchar("item_type", 50),
        column("content", Kind::Json),
        column("difficulty", Kind::Float),
        column("discrimination", Kind::Numeric(Some((8, 4)))).out_of_range(Then::Null),
        column("is_active", Kind::Bool).or("true"),
        column("created_at", Kind::Timestamp),
    ],
    unique: &[],
    children: &[
        ChildTable {
            name: "learning_item_media",
            from: "media",
            columns: &[
                text("url").required(),
                varchar("kind", 20),
                column("seconds", Kind::Int),
            ],
        },
        ChildTable {
            name: "learning_item_tags",
            from: "tags",
            columns: &[varchar("tag", 60).at("").required()],
        },
    ],
};

static ITEM_KC_MAPPINGS: Table = Table {
    name: "item_kc_mappings",
    columns: &[
        id("mapping_id"),
        reference("item_id", Collection::LearningItems).required(),
        reference("kc_id", Collection::KnowledgeComponents).required(),
        column("weight", Kind::Float).or("1"),
    ],
    unique: &[&["item_id", "kc_id"]],
    children: &[],
};

static LEARNER_SKILL_STATES: Table = Table {
    name: "learner_skill_states",
    columns: &[
        id("state_id"),
        reference("learner_id", Collection::Learners).required(),
        reference("kc_id", Collection::KnowledgeComponents).required(),
        column("p_mastery", Kind::Float),
        column("stability", Kind::Float),
        column("repetitions", Kind::Int).or("0"),
        column("next_review_at", Kind::Timestamp).out_of_range(Then::Null),
        column("updated_at", Kind::Timestamp),
    ],
    unique: &[],
    children: &[],
};

static INTERACTIONS: Table = Table {
    name: "interactions",
    columns: &[
        id("interaction_id"),
        column(
            "source_id",
            Kind::Text {
                max: None,
                any: true,
            },
        )
        .at("_id")
        .wrong_type(Then::Null),
        reference("learner_id", Collection::Learners).required(),
        column(
            "item_id",
            Kind::Reference(Parent {
                collection: Collection::LearningItems,
                or_null: true,
            }),
        ),
        reference("kc_id", Collection::KnowledgeComponents),
        varchar("session_id", 64),
        column("is_correct", Kind::Bool),
        column("response", Kind::Json).nul(Then::Cut),
        column("response_time_ms", Kind::BigInt),
        column("score", Kind::Numeric(None)),
        column("created_at", Kind::Timestamp),
    ],
    unique: &[],
    children: &[],
};

static ACHIEVEMENTS: Table = Table {
    name: "achievements",
    columns: &[
        id("achievement_id"),
        varchar("code", 80).required(),
        varchar("title", 255).required(),
        text("description"),
        column("icon", Kind::Bytes),
        column("xp_reward", Kind::Int).or("0"),
    ],
    unique: &[&["code"]],
    children: &[],
};

static LEARNER_ACHIEVEMENTS: Table = Table {
    name: "learner_achievements",
    columns: &[
        id("learner_achievement_id"),
        reference("learner_id", Collection::Learners).required(),
        reference("achievement_id", Collection::Achievements).required(),
        column("progress", Kind::Real),
        column("earned_at", Kind::Timestamp),
    ],
    unique: &[],
    children: &[],
};

static DAILY_PROGRESS: Table = Table {
    name: "daily_progress",
    columns: &[
        id("progress_id"),
        reference("learner_id", Collection::Learners).required(),
        column("day", Kind::Date).at("date").required(),
        column("minutes_spent", Kind::Int).or("0"),
        column("xp_earned", Kind::Int).or("0"),
        column("goal_met", Kind::Bool).or("false"),
    ],
    unique: &[],
    children: &[],
};
