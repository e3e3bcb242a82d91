//! The engine on the simulated driver, killed after every step.
//!
//! This program is three things. As a test it prepares a home, starts itself as a child that
//! carries out one command, and looks at what the child left. As that child it kills itself at the
//! point that it was told. And as the engine's sandboxed reader of images it takes an image in.
//!
//! Two tests use real machines: `real.rs` runs QEMU without anything to boot, and `speed.rs` asks
//! for time.

mod approval;
mod audit;
mod beside;
mod boot;
mod cancel;
mod capture;
mod cases;
mod clean;
mod collect;
mod commands;
mod crash;
mod downloads;
mod evidence;
mod faults;
mod governance;
mod histories;
mod home;
mod inside;
mod instant;
mod leases;
mod lost;
mod meanwhile;
mod model;
mod no_files;
mod older;
mod policy;
mod pools;
mod power;
mod races;
mod real;
mod refusals;
mod removal;
mod retention;
mod rot;
mod rotten_index;
mod rotten_memory;
mod rotten_rows;
mod seed;
mod speed;
mod system;
mod undefined;
mod unique;
mod waiting;

use crate::home::trial;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    stampo_image::intake::run_child_if_asked();
    let roles: [fn() -> Option<ExitCode>; 5] = [
        crash::run_child_if_asked,
        faults::child::run_if_asked,
        faults::small_disk::run_if_asked,
        races::run_child_if_asked,
        power::run_child_if_asked,
    ];
    for role in roles {
        if let Some(code) = role() {
            home::remove_shared();
            return code;
        }
    }
    if let Some(code) = model::run_child_if_asked() {
        return code;
    }
    let mut trials = plain();
    trials.extend(capture::trials());
    trials.extend(instant::trials());
    trials.extend(rotten_memory::trials());
    trials.extend(governance::trials());
    trials.extend(retention::trials());
    trials.extend(evidence::trials());
    trials.extend(approval::trials());
    trials.extend(audit::trials());
    trials.extend(inside::trials());
    trials.extend(policy::trials());
    trials.extend(pools::trials());
    trials.extend(leases::trials());
    trials.extend(waiting::trials());
    trials.extend(meanwhile::trials());
    trials.extend(power::trials());
    trials.extend(model::trials());
    for case in cases::all() {
        trials.push(Trial::test(
            format!("killed_after_every_step_of_{}", case.name),
            move || {
                crash::kill_everywhere(&case);
                Ok(())
            },
        ));
    }
    trials.extend(faults::trials());
    let mut arguments = Arguments::from_args();
    // They wait for the disk, for time-outs and for children more than they compute.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * processors);
    let conclusion = libtest_mimic::run(&arguments, trials);
    home::remove_shared();
    conclusion.exit_code()
}

/// The tests that are no crash case.
fn plain() -> Vec<Trial> {
    vec![
        trial(
            "another_byte_in_a_clone_is_noticed",
            clean::another_byte_is_noticed,
        ),
        trial(
            "a_guest_that_is_brought_back_during_a_collection_stays",
            collect::a_guest_that_is_brought_back_during_a_collection_stays,
        ),
        trial(
            "a_trashed_guest_that_runs_is_not_collected",
            collect::a_trashed_guest_that_runs_is_not_collected,
        ),
        trial(
            "a_new_guest_of_the_name_of_a_collected_one_stays",
            collect::a_new_guest_of_the_name_of_a_collected_one_stays,
        ),
        trial(
            "a_new_guest_that_is_trashed_too_stays_for_its_own_time",
            collect::a_new_guest_that_is_trashed_too_stays_for_its_own_time,
        ),
        trial(
            "what_a_command_is_given_and_writes_is_passed_on_whole",
            commands::what_a_command_is_given_and_writes_is_passed_on_whole,
        ),
        trial(
            "what_can_not_be_run_is_refused_in_words",
            commands::what_can_not_be_run_is_refused_in_words,
        ),
        trial(
            "a_signal_ends_a_command_that_waits_for_input",
            commands::a_signal_ends_a_command_that_waits_for_input,
        ),
        trial(
            "a_command_that_its_agent_does_not_end_in_time_is_not_waited_for",
            commands::a_command_that_its_agent_does_not_end_in_time_is_not_waited_for,
        ),
        trial(
            "a_command_whose_output_nobody_takes_is_ended",
            commands::a_command_whose_output_nobody_takes_is_ended,
        ),
        trial(
            "of_several_guests_none_goes_when_one_runs",
            removal::of_several_guests_none_goes_when_one_runs,
        ),
        trial(
            "a_guest_that_is_started_during_a_removal_is_not_killed",
            removal::a_guest_that_is_started_during_a_removal_is_not_killed,
        ),
        trial(
            "a_guest_that_may_run_goes_with_force_only",
            removal::a_guest_that_may_run_goes_with_force_only,
        ),
        trial(
            "a_guest_that_can_not_be_defined_is_unknown_and_free",
            removal::a_guest_that_can_not_be_defined_is_unknown_and_free,
        ),
        trial(
            "what_recovery_can_not_finish_can_be_removed",
            removal::what_recovery_can_not_finish_can_be_removed,
        ),
        trial(
            "a_clone_that_can_not_be_destroyed_yet_is_not_forgotten",
            removal::a_clone_that_can_not_be_destroyed_yet_is_not_forgotten,
        ),
        trial(
            "a_guest_whose_removal_was_given_up_is_collected",
            removal::a_guest_whose_removal_was_given_up_is_collected,
        ),
        trial(
            "the_passports_of_all_are_those_of_the_guests_that_stay",
            beside::the_passports_of_all_are_those_of_the_guests_that_stay,
        ),
        trial(
            "a_guest_that_is_removed_during_a_rescan_does_not_come_back",
            beside::a_guest_that_is_removed_during_a_rescan_does_not_come_back,
        ),
        trial(
            "a_guest_that_a_rescan_can_not_define_is_brought_back_with_a_warning",
            beside::a_guest_that_a_rescan_can_not_define_is_brought_back_with_a_warning,
        ),
        trial(
            "a_guest_without_its_disk_is_not_defined",
            undefined::a_guest_without_its_disk_is_not_defined,
        ),
        trial(
            "a_cancelled_operation_leaves_nothing",
            cancel::a_cancelled_operation_leaves_nothing,
        ),
        trial(
            "another_process_can_cancel",
            cancel::another_process_can_cancel,
        ),
        trial(
            "a_defect_in_one_thread_ends_the_operation",
            cancel::a_defect_in_one_thread_ends_the_operation,
        ),
        trial(
            "stampos_agent_is_asked_before_qemus",
            boot::stampos_agent_is_asked_before_qemus,
        ),
        trial(
            "a_guest_that_nobody_speaks_for_is_said_to_be_so",
            boot::a_guest_that_nobody_speaks_for_is_said_to_be_so,
        ),
        trial(
            "the_system_is_waited_for_no_longer_than_asked",
            boot::the_system_is_waited_for_no_longer_than_asked,
        ),
        trial(
            "a_personalised_clone_that_is_not_unique_is_destroyed",
            unique::a_personalised_clone_that_is_not_unique_is_destroyed,
        ),
        trial(
            "clones_that_are_equal_on_purpose_show_it_in_their_passports",
            unique::clones_that_are_equal_on_purpose_show_it_in_their_passports,
        ),
        trial(
            "personalised_clones_share_nothing_unexplained",
            unique::personalised_clones_share_nothing_unexplained,
        ),
        trial(
            "a_renamed_guest_keeps_its_host_name_reserved",
            unique::a_renamed_guest_keeps_its_host_name_reserved,
        ),
        trial(
            "bad_input_is_refused_before_anything_is_made",
            refusals::bad_input_is_refused_before_anything_is_made,
        ),
        trial(
            "an_interrupted_download_is_collected",
            refusals::an_interrupted_download_is_collected,
        ),
        trial(
            "a_base_with_linked_clones_is_refused_with_their_names",
            refusals::a_base_with_linked_clones_is_refused_with_their_names,
        ),
        trial(
            "imports_of_one_url_wait_for_each_other",
            downloads::imports_of_one_url_wait_for_each_other,
        ),
        trial(
            "what_an_older_catalog_does_not_know_stays",
            older::what_an_older_catalog_does_not_know_stays,
        ),
        trial(
            "an_older_catalog_learns_newer_states",
            older::an_older_catalog_learns_newer_states,
        ),
        trial(
            "an_older_catalog_collects_no_guest_that_was_brought_back",
            older::an_older_catalog_collects_no_guest_that_was_brought_back,
        ),
        trial(
            "a_full_clone_of_a_purged_version_comes_back",
            older::a_full_clone_of_a_purged_version_comes_back,
        ),
        trial(
            "a_linked_clone_of_a_purged_version_comes_back",
            older::a_linked_clone_of_a_purged_version_comes_back,
        ),
        trial(
            "a_version_that_is_being_made_is_refused_for_its_state",
            refusals::a_version_that_is_being_made_is_refused_for_its_state,
        ),
        trial(
            "real_guests_are_found_again",
            real::real_guests_are_found_again,
        ),
        trial(
            "of_a_running_guest_without_records_nothing_passes",
            real::of_a_running_guest_without_records_nothing_passes,
        ),
        trial(
            "guests_with_damaged_definitions_are_not_stuck",
            real::guests_with_damaged_definitions_are_not_stuck,
        ),
        trial(
            "a_lost_catalog_comes_back_with_the_port_that_a_guest_found",
            lost::a_lost_catalog_comes_back_with_the_port_that_a_guest_found,
        ),
        trial(
            "a_linked_clone_keeps_the_image_of_a_lost_version",
            lost::a_linked_clone_keeps_the_image_of_a_lost_version,
        ),
        trial(
            "a_collection_removes_half_written_sidecars",
            lost::a_collection_removes_half_written_sidecars,
        ),
        trial(
            "two_sidecars_that_name_one_port_are_two_guests",
            lost::two_sidecars_that_name_one_port_are_two_guests,
        ),
        trial(
            "a_lost_catalog_comes_back_as_it_was",
            lost::a_lost_catalog_comes_back_as_it_was,
        ),
        trial(
            "what_is_made_before_a_rescan_gets_a_number_of_its_own",
            lost::what_is_made_before_a_rescan_gets_a_number_of_its_own,
        ),
        trial(
            "a_damaged_catalog_is_refused_by_name_and_replaced",
            lost::a_damaged_catalog_is_refused_by_name_and_replaced,
        ),
        trial(
            "an_empty_catalog_is_a_lost_one_and_one_in_use_stays",
            lost::an_empty_catalog_is_a_lost_one_and_one_in_use_stays,
        ),
        trial(
            "sealing_hides_no_rot_of_the_draft",
            rot::sealing_hides_no_rot_of_the_draft,
        ),
        trial(
            "sealing_finds_rot_in_what_it_changes",
            rot::sealing_finds_rot_in_what_it_changes,
        ),
        trial(
            "sealing_without_a_leaf_index_finds_rot_anywhere",
            rot::sealing_without_a_leaf_index_finds_rot_anywhere,
        ),
        trial(
            "good_bytes_that_come_again_replace_wrong_ones",
            rot::good_bytes_that_come_again_replace_wrong_ones,
        ),
        trial(
            "each_of_a_thousand_flipped_bits_is_found",
            rot::each_of_a_thousand_flipped_bits_is_found,
        ),
        trial(
            "an_index_that_hides_a_clone_releases_no_image",
            rotten_index::an_index_that_hides_a_clone_releases_no_image,
        ),
        trial(
            "an_index_that_hides_a_version_releases_no_image",
            rotten_index::an_index_that_hides_a_version_releases_no_image,
        ),
        trial(
            "an_index_that_hides_an_operation_releases_no_image",
            rotten_index::an_index_that_hides_an_operation_releases_no_image,
        ),
        trial(
            "of_a_damaged_row_and_a_damaged_sidecar_nothing_is_mended",
            rotten_rows::of_a_damaged_row_and_a_damaged_sidecar_nothing_is_mended,
        ),
        trial(
            "a_right_sidecar_is_not_overwritten_from_a_damaged_row",
            rotten_rows::a_right_sidecar_is_not_overwritten_from_a_damaged_row,
        ),
        trial(
            "an_image_that_a_damaged_row_released_stays",
            rotten_rows::an_image_that_a_damaged_row_released_stays,
        ),
        trial(
            "an_image_that_a_damaged_guest_reads_stays",
            rotten_rows::an_image_that_a_damaged_guest_reads_stays,
        ),
        trial(
            "an_image_that_a_damaged_guest_without_a_sidecar_may_read_stays",
            rotten_rows::an_image_that_a_damaged_guest_without_a_sidecar_may_read_stays,
        ),
        trial(
            "a_draft_that_a_damaged_row_may_need_is_told_of",
            rotten_rows::a_draft_that_a_damaged_row_may_need_is_told_of,
        ),
        trial(
            "a_version_whose_image_another_keeps_goes_for_all_doubt",
            rotten_rows::a_version_whose_image_another_keeps_goes_for_all_doubt,
        ),
        trial(
            "a_damaged_guest_holds_no_image_of_others",
            rotten_rows::a_damaged_guest_holds_no_image_of_others,
        ),
        trial(
            "an_image_that_a_damaged_operation_works_on_stays",
            rotten_rows::an_image_that_a_damaged_operation_works_on_stays,
        ),
        trial(
            "a_template_gets_its_name_back_from_the_sidecars",
            rotten_rows::a_template_gets_its_name_back_from_the_sidecars,
        ),
        trial(
            "a_disk_that_is_not_there_or_no_file_quarantines_nothing",
            rotten_rows::a_disk_that_is_not_there_or_no_file_quarantines_nothing,
        ),
        trial(
            "what_cannot_be_written_ends_no_scrub",
            rotten_rows::what_cannot_be_written_ends_no_scrub,
        ),
        trial(
            "a_draft_that_is_purged_during_a_scrub_is_no_damage",
            rotten_rows::a_draft_that_is_purged_during_a_scrub_is_no_damage,
        ),
        trial(
            "a_scrub_waits_for_no_pipe_and_tells_what_is_no_file",
            no_files::a_scrub_waits_for_no_pipe_and_tells_what_is_no_file,
        ),
        trial(
            "a_rescan_waits_for_no_pipe_and_refuses_what_is_no_file",
            no_files::a_rescan_waits_for_no_pipe_and_refuses_what_is_no_file,
        ),
        trial(
            "a_start_looks_at_no_guest",
            undefined::a_start_looks_at_no_guest,
        ),
        trial(
            "a_lost_guest_is_defined_when_it_is_looked_at",
            undefined::a_lost_guest_is_defined_when_it_is_looked_at,
        ),
        trial("a_hundred_clones_are_fast", speed::a_hundred_clones),
        trial(
            "several_processes_may_work_and_die_on_one_home",
            races::several_processes_may_work_and_die_on_one_home,
        ),
    ]
}
