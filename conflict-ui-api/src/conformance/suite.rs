//! One test for each case.

/// Makes a test of every case of the suite, over the fixture given.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            catalogs::the_catalog_is_the_systems,
            records::a_new_record_comes_back_with_defaults_and_stamps,
            records::a_patch_changes_what_it_names_and_nothing_else,
            records::a_record_may_carry_its_own_id_once,
            records::a_stale_etag_is_refused_with_the_record_as_it_is,
            records::of_two_writers_with_one_etag_one_wins,
            records::faults_are_named_field_by_field,
            records::a_taken_unique_key_is_named_by_its_columns,
            records::a_reference_to_nothing_is_refused,
            records::what_does_not_exist_is_not_found,
            records::a_real_delete_removes_and_a_reference_may_forbid_it,
            records::a_composite_key_survives_commas_and_percent_signs,
            lists::filters_compare_values_and_find_null,
            filters::values_are_compared_by_operators,
            filters::several_values_ask_for_any_of_them,
            filters::decimals_are_compared_by_value_and_unrounded,
            filters::a_value_that_a_column_could_not_hold_is_compared_all_the_same,
            filters::every_ordered_type_is_compared_alike,
            filters::what_has_no_order_is_not_compared_by_it,
            filters::only_the_fields_that_are_named_are_shown,
            filters::columns_and_filters_are_called_as_the_system_says,
            filters::a_total_counts_what_the_filters_leave,
            groups::records_are_counted_and_added_up_by_group,
            groups::sums_are_exact_whatever_the_order,
            groups::figures_of_every_type_are_those_of_its_order,
            groups::times_fall_into_buckets_of_the_calendar,
            groups::groups_have_the_form_of_lists_and_count_under_their_parents,
            groups::what_cannot_be_grouped_is_named,
            groups::more_groups_than_one_answer_holds_are_refused,
            lists::orders_put_nulls_last_and_break_ties_by_key,
            lists::lists_are_ordered_by_version_and_time_of_change,
            lists::two_thousand_five_hundred_rows_come_once_each,
            lists::rows_that_come_between_pages_do_not_disturb_them,
            nested::children_are_listed_and_made_under_their_parent,
            nested::one_parent_by_two_references_needs_via,
            declared::a_row_of_a_kind_must_name_one_that_is_there,
            declared::rows_of_a_kind_are_listed_and_made_under_their_parent,
            declared::what_a_record_refers_to_and_what_refers_to_it_is_included,
            declared::a_delete_does_what_the_declared_rules_say,
            soft_deletes::a_deleted_record_is_hidden_with_what_hangs_from_it,
            soft_deletes::a_restore_brings_back_the_same_set,
            soft_deletes::a_deleted_record_takes_no_edits,
            types::every_type_goes_in_and_comes_out_canonical,
            types::every_type_can_be_filtered_by_its_own_value,
            types::values_of_another_type_are_refused,
            actions::what_is_read_for_an_action_decides_it,
            actions::of_two_actions_at_once_the_second_sees_what_the_first_wrote,
            imports::an_import_writes_what_differs_and_nothing_twice,
            imports::an_import_that_cannot_be_written_changes_nothing,
            accounts::users_sign_in_change_passwords_and_lose_their_rights,
            accounts::a_session_lives_where_it_was_made,
        }
    };
}

/// One test for each `module::case`.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($fixture:expr; $($module:ident :: $case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$module::$case(&$fixture).await;
            }
        )+
    };
}
