"""Result objects: SEG and SR built, proved against what was computed, and written.

Order of use: `description.numbered` -> `segmentation.build_segmentation` -> `write.write_object`
-> `proof.prove_segmentation`; then `report_sr.build_report` -> `write.write_object` ->
`proof_report.prove_report`. Without findings there is no SEG, only the report.
"""
