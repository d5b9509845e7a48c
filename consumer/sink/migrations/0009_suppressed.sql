-- Records of whose rows the target swallowed some, by a trigger or a rule.
alter table leafcutter.offsets add column suppressed bigint not null default 0;
update leafcutter.meta set layout = 9;
