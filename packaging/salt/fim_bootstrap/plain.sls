{#- The same as ready, for those who sync no modules. #}
{%- from 'fim_bootstrap/map.jinja' import fim with context %}
include:
  - fim_bootstrap.install

fim-bootstrap-applied:
  cmd.run:
    - name: {{ fim.binary }} apply --format json
    - stateful:
      - test_name: >-
          if test -x {{ fim.binary }}; then {{ fim.binary }} apply --dry-run --format json;
          else echo '{"changed": true, "comment": "{{ fim.binary }} is not there yet"}'; fi
    - require:
      - sls: fim_bootstrap.install
