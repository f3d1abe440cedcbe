import pytest

from clients.ingest.identity_columns import identity_columns, looks_like_identity
from clients.ingest.mapping import load_mapping, shipped

IDENTITY = (
    "name|first_name|firstName|Telefon|e-mail|E_Mail|dob|nombre|phone_number|phonenumber|user_name|display_name|lat|lon|GPS|"
    "home_address|Adresse|date_of_birth|birthYear|nationality|passport_no|id_number|national_id|photo_url|author.name|"
    "Телефон|имя|姓名|email_address|contactEmail|handle|الاسم|Ім'я|नाम|Straße|Prénom|apellidos|mobile|Phones|image|"
    "victim_name|geo.coordinates|ip_address|ＥＭＡＩＬ|First Name|PASSPORT|Nationalität|Geburtsdatum").split("|")
HARMLESS = (
    "company_name|filename|file_name|n_emails|has_company_logo|title|location|department|text|doc_id|group|label|confidence|"
    "employment_type|function|image_count|email_count|has_phone|region|country|record_id|actor_key|person|model_version|"
    "description|decided_by|smartphone_app|labels.task|indicators.wage_overwork|platform|nomination|latex|collation|1|").split("|")


@pytest.mark.parametrize("name", IDENTITY)
def test_looks_like_identity(name: str) -> None:
    assert looks_like_identity(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name: str) -> None:
    assert not looks_like_identity(name)


def test_no_shipped_mapping_uses_identity() -> None:
    for name in shipped():
        assert not identity_columns(load_mapping(name).columns(), allowed=frozenset(), excluded=frozenset())


def test_excluding_a_parent_excludes_what_it_holds() -> None:
    columns = ("contact", "contact.phone", "email", "handle")
    found = identity_columns(columns, allowed=frozenset({"handle"}), excluded=frozenset({"contact"}))
    assert found == ("email",)
