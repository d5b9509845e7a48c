//! What was done to the tables of the mapping, and what has to be told of it.

use leafcutter_sink::target::compare::Kind;

/// What was done to the tables, and what has to be told: kind, place, and what PostgreSQL has.
pub(super) type Case = (&'static str, &'static [(Kind, &'static str, &'static str)]);

pub(super) const CASES: &[Case] = &[
    (
        "drop table orders",
        &[(Kind::MissingTable, "orders", "none")],
    ),
    (
        "alter table people drop column age",
        &[(Kind::MissingColumn, "people.age", "no column")],
    ),
    (
        "alter table people drop column lc_version",
        &[(Kind::MissingColumn, "people.lc_version", "no column")],
    ),
    (
        "alter table people drop column no",
        &[(Kind::MissingColumn, "people.no", "no column")],
    ),
    (
        "alter table people alter column age type text",
        &[(Kind::Type, "people.age", "text")],
    ),
    (
        "create type mood as enum ('good', 'bad'); alter table people_tags drop column tag; \
         alter table people_tags add column tag mood",
        &[(Kind::Type, "people_tags.tag", "mood")],
    ),
    (
        "alter table orders alter column id type uuid using gen_random_uuid()",
        &[(Kind::Type, "orders.id", "uuid")],
    ),
    (
        "alter table posts drop column lc_version; alter table posts add column lc_version text",
        &[(Kind::Type, "posts.lc_version", "text, takes null")],
    ),
    (
        "alter table posts alter column lc_version drop not null",
        &[(Kind::Type, "posts.lc_version", "bigint, takes null")],
    ),
    (
        "alter table people drop column age; \
         alter table people add column age integer generated always as (1) stored",
        &[(
            Kind::NotWritable,
            "people.age",
            "generated always as (…) stored",
        )],
    ),
    (
        "alter table orders alter column id add generated always as identity",
        &[(
            Kind::NotWritable,
            "orders.id",
            "generated always as identity",
        )],
    ),
    (
        "alter table people alter column gone_at set not null",
        &[(Kind::NotWritable, "people.gone_at", "not null")],
    ),
    (
        "alter table people add column tenant integer not null",
        &[(
            Kind::Unfilled,
            "people.tenant",
            "integer not null, without a default",
        )],
    ),
    (
        "create domain code as uuid not null; alter table orders drop constraint orders_pkey; \
         alter table orders add column code code, add primary key (code), add unique (id)",
        &[(
            Kind::Unfilled,
            "orders.code",
            "code not null, without a default",
        )],
    ),
    (
        "alter table posts alter column id drop identity",
        &[(Kind::Unnumbered, "posts.id", "no sequence of its own")],
    ),
    (
        "alter table people alter column no drop identity",
        &[(Kind::Unnumbered, "people.no", "nothing gives it a number")],
    ),
    (
        "alter table orders drop constraint orders_pkey",
        &[(Kind::MissingKey, "orders.id", "no unique key")],
    ),
    (
        "alter table orders drop constraint orders_pkey; \
         alter table orders add primary key (id) deferrable",
        &[(
            Kind::MissingKey,
            "orders.id",
            "primary key (id) (deferrable)",
        )],
    ),
    (
        "alter table people_tags drop constraint people_tags_pkey; \
         create unique index on people_tags (id, n) where n > 0",
        &[(
            Kind::MissingKey,
            "people_tags (n, id)",
            "unique (id, n) (partial)",
        )],
    ),
    (
        "alter table people alter column email type varchar(30), alter column age type bigint, \
         alter column born type timestamptz(0), alter column price type numeric(7,2)",
        &[
            (Kind::OtherType, "people.email", "character varying(30)"),
            (Kind::OtherType, "people.age", "bigint"),
            (
                Kind::OtherType,
                "people.born",
                "timestamp(0) with time zone",
            ),
            (Kind::OtherType, "people.price", "numeric(7,2)"),
        ],
    ),
    (
        "alter table people alter column email drop not null, alter column age set not null",
        &[
            (Kind::Nullability, "people.email", "takes null"),
            (Kind::Nullability, "people.age", "not null"),
        ],
    ),
    (
        "drop index people_email_key",
        &[(
            Kind::MissingUnique,
            "people.email",
            "unique (no), primary key (id)",
        )],
    ),
    (
        "alter table people add constraint of_age unique (age)",
        &[(
            Kind::UnknownUnique,
            "people.age",
            "CREATE UNIQUE INDEX of_age ON public.people USING btree (age)",
        )],
    ),
    (
        "create unique index folded on people (lower(email))",
        &[(
            Kind::UnknownUnique,
            "people.",
            "CREATE UNIQUE INDEX folded ON public.people USING btree (lower((email)::text))",
        )],
    ),
    (
        "drop index orders_person_id_idx; drop index people_tags_id_idx",
        &[
            (
                Kind::MissingIndex,
                "people_tags.id",
                "none that begins with it",
            ),
            (
                Kind::MissingIndex,
                "orders.person_id",
                "none that begins with it",
            ),
        ],
    ),
    (
        "drop index orders_person_id_idx; create index on orders (person_id) where id > 7; \
         create index on orders (total, person_id); create index on orders using brin (person_id)",
        &[(
            Kind::MissingIndex,
            "orders.person_id",
            "none that begins with it",
        )],
    ),
    (
        "alter table orders drop constraint orders_person_id_fkey; \
         alter table people_tags drop constraint people_tags_id_fkey",
        &[
            (Kind::MissingForeignKey, "people_tags.id", "no foreign key"),
            (
                Kind::MissingForeignKey,
                "orders.person_id",
                "no foreign key",
            ),
        ],
    ),
    (
        "create table ages (age integer primary key); insert into ages values (36); \
         alter table people add constraint known_age foreign key (age) references ages; \
         alter table orders add constraint helped foreign key (helper_id) references people",
        &[
            (
                Kind::UnknownForeignKey,
                "people.age",
                "foreign key `known_age` to ages",
            ),
            (
                Kind::UnknownForeignKey,
                "orders.helper_id",
                "foreign key `helped` to people",
            ),
        ],
    ),
    (
        "create table audits (person bigint constraint audited references people); \
         create table notes (person bigint references people on delete cascade)",
        &[(
            Kind::UnknownForeignKey,
            "people.id",
            "foreign key `audited` of audits",
        )],
    ),
    (
        "alter table orders alter constraint orders_person_id_fkey deferrable initially deferred",
        &[(
            Kind::DeferredForeignKey,
            "orders.person_id",
            "foreign key `orders_person_id_fkey` to people, initially deferred",
        )],
    ),
];
